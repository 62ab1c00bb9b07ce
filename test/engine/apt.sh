# shellcheck shell=bash
# Debian packages for the scripts here. Sourced after common.sh, not run.

refresh() { timeout 300 apt-get update -qq; }

missing() {
  local p
  for p; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
  done
}

# Installs missing packages without starting services: there may be no init, and the tests need the ports.
add_packages() (
  mapfile -t wanted < <(missing "$@")
  [ ${#wanted[@]} -gt 0 ] || exit 0
  say "installing ${wanted[*]}"
  forbid_services
  log=$(mktemp)
  install() {
    DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -y -qq --no-install-recommends \
      -o DPkg::Lock::Timeout=300 "${wanted[@]}" </dev/null >"$log" 2>&1
  }
  # The lists of a fresh machine are empty or old.
  install || { refresh && install; } || { tail -n 20 "$log" >&2; die "cannot install; see $log"; }
  rm -f "$log"
)

# Debian runs /usr/sbin/policy-rc.d before it starts a service; 101 forbids it. Ours is removed with the calling subshell.
forbid_services() {
  policy=/usr/sbin/policy-rc.d mark='made by wakeport-test'
  if [ -x $policy ] && ! grep -q "$mark" $policy; then
    local answer=0
    $policy docker start >/dev/null 2>&1 || answer=$?
    [ $answer != 101 ] || return 0
    mv $policy $policy.before-wakeport-test
  fi
  trap 'rm -f $policy; [ ! -e $policy.before-wakeport-test ] || mv $policy.before-wakeport-test $policy' EXIT
  printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >$policy
  chmod 755 $policy
}

# The address of a Debian suite (bookworm, bookworm-security) in this machine's apt configuration.
mirror() {
  # shellcheck disable=SC2016 # apt's own variable
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
    "Codename: $1" | sed -n 1p
}

# The main archive, which contains every suite.
archive() {
  local codename
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
  [ -n "$(mirror "$codename")" ] || refresh
  mirror "$codename" | grep . || die "apt has no source for Debian $codename"
}

# Prints the path of a package's .deb of this machine's own suite, downloaded into a folder.
download() {
  (cd "$1" && { fetch "$2" 2>/dev/null || { refresh && fetch "$2"; }; }) >&2
  echo "$1/$2"_*.deb
}

# The same of Debian 13, which has compose v2 and buildx; its own lists leave the machine's apt as it is.
download_from_trixie() {
  local dir=$1 from p
  shift
  from=$(archive)
  mkdir -p "$dir/lists/partial" "$dir/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from trixie main" >"$dir/sources.list"
  local apart=(-o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$dir/lists" -o "Dir::Cache=$dir" -o APT::Sandbox::User=root)
  timeout 300 apt-get "${apart[@]}" update -qq >&2
  for p; do (cd "$dir" && fetch "$p" "${apart[@]}") >&2; done
}

# As root, because apt's own user cannot write into our folders.
fetch() {
  local package=$1
  shift
  timeout 300 apt-get -o APT::Sandbox::User=root "$@" download -qq "$package"
}
