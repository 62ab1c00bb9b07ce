# shellcheck shell=bash
# Paths, messages and waits of the scripts here. Sourced, not run.

# Without it a failure inside $(...) would be ignored.
shopt -s inherit_errexit

# The tests use the engine on the default socket, regardless of DOCKER_HOST and the context.
export DOCKER_HOST=unix:///var/run/docker.sock
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# shellcheck disable=SC2034 # read by the scripts that source this file
state=${WAKEPORT_TEST_STATE:-/run/wakeport-test} cache=${WAKEPORT_TEST_CACHE:-${HOME:-/root}/.cache/wakeport-test}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null; }

# poll SECONDS COMMAND: repeats a command until it succeeds; fails after SECONDS.
poll() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# A frozen engine accepts connections without a response, hence the timeout.
engine_answers() { timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# A dead process may stay as a zombie: there may be no init that reaps it.
gone() { ! grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" 2>/dev/null; }

# runs NAME PID: a recorded pid may belong to another program by now.
runs() { [ -n "$2" ] && [ "$(cat "/proc/$2/comm" 2>/dev/null)" = "$1" ] && ! gone "$2"; }
is_dockerd() { runs dockerd "$1"; }
not_dockerd() { ! is_dockerd "$1"; }

# forget_dead NAME PIDFILE: dockerd treats even a zombie as a running daemon, and refuses to start or waits forever.
forget_dead() { runs "$1" "$(cat "$2" 2>/dev/null)" || rm -f "$2"; }

[ "$(id -u)" = 0 ] || die 'needs root'
