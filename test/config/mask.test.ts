/** Secrets in commands and URLs. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { TargetSpec } from "../../src/config/config.ts";
import { describeTarget } from "../../src/config/describe-target.ts";
import { maskCommand, maskLine, maskUrl } from "../../src/config/mask.ts";

/** Each secret in these contains "hunter". */
const commands: readonly (readonly [command: readonly string[], shown: string])[] = [
  [["server", "--password=hunter2"], "server --password=***"],
  [["server", "--password", "hunter2", "--port", "80"], "server --password *** --port 80"],
  [["server", "--password", "-hunter2"], "server --password ***"],
  [["server", "--password", "--port", "80"], "server --password --port 80"],
  [["server", "--db-password=hunter 2 hunter"], "server --db-password=***"],
  [["server", "-password", "hunter2"], "server -password ***"],
  [["server", "--token=hunter2", "--secret", "hunter2"], "server --token=*** --secret ***"],
  [["server", "--api-key=hunter2", "--apiKey", "hunter2"], "server --api-key=*** --apiKey ***"],
  [["server", "--aws_secret_access_key", "hunter2"], "server --aws_secret_access_key ***"],
  [["java", "-Ddb.password=hunter2", "-jar", "x.jar"], "java -Ddb.password=*** -jar x.jar"],
  [["env", "PGPASSWORD=hunter2", "MYSQL_PWD=hunter2", "A=b", "psql"], "env PGPASSWORD=*** MYSQL_PWD=*** A=b psql"],
  [["redis-server", "--requirepass", "hunter2"], "redis-server --requirepass ***"],
  [["redis-server", "--masterauth=hunter2"], "redis-server --masterauth=***"],
  [["redis-cli", "-a", "hunter2", "ping"], "redis-cli -a *** ping"],
  [["/usr/bin/mysqld_safe", "-phunter2", "-P", "3306"], "/usr/bin/mysqld_safe -phunter2 -P 3306"],
  [["nice", "/usr/bin/mysqldump", "-phunter2", "shop"], "nice /usr/bin/mysqldump -p*** shop"],
  [["mysql", "-p", "shop"], "mysql -p shop"],
  [["sshpass", "-p", "hunter2", "ssh", "-p", "22"], "sshpass -p *** ssh -p ***"],
  [["nginx", "-p", "/srv"], "nginx -p /srv"],
  [["curl", "-u", "anna:hunter2", "http://x"], "curl -u *** http://x"],
  [["curl", "--user", "anna:hunter2", "x"], "curl --user *** x"],
  [["curl", "--user=anna:hunter2", "--user-agent", "me"], "curl --user=*** --user-agent me"],
  [["mongodump", "-u", "anna", "-p", "hunter2"], "mongodump -u anna -p ***"],
  [["smbclient", "-U", "anna%hunter2", "//x/y"], "smbclient -U *** //x/y"],
  [["mosquitto_sub", "-P", "hunter2", "-p", "1883"], "mosquitto_sub -P *** -p 1883"],
  [["openssl", "enc", "-pass", "pass:hunter2", "-passin", "pass:hunter2"], "openssl enc -pass *** -passin pass:***"],
  [["curl", "-H", "Authorization: Bearer hunter2"], "curl -H Authorization: ***"],
  [["curl", "-H", "X-Api-Key: hunter2"], "curl -H X-Api-Key: ***"],
  [["app", "postgres://anna:hunter2@db/shop"], "app postgres://anna:***@db/shop"],
  [["app", "--url=redis://:hunter2@db:6379"], "app --url=redis://:***@db:6379"],
  [["app", "DATABASE_URL=mysql://anna:hunter@2/hunter@db/shop"], "app DATABASE_URL=mysql://anna:***@db/shop"],
  [["git", "clone", "https://hunter2@example.com/x"], "git clone https://***@example.com/x"],
  [["git", "clone", "ssh://git@example.com/x"], "git clone ssh://git@example.com/x"],
  [["app", "http://db/x?user=a&token=hunter2&b=c"], "app http://db/x?user=a&token=***&b=c"],
  [["psql", "host=db password='hunter 2' user=anna"], "psql host=db password=*** user=anna"],
  [["app", "Server=db;Password=hunter2;User=anna"], "app Server=db;Password=***"],
  [["mount", "-o", "user=anna,password=hunter2"], "mount -o user=anna,password=***"],
  [["app", '{"user":"anna","password":"hunter2","port":1}'], 'app {"user":"anna","password":***,"port":1}'],
  [["sh", "-c", "PASSWORD=hunter2 exec server"], "sh -c PASSWORD=***"],
  [["sh", "-c", "exec server --password hunter2 --port 80"], "sh -c exec server --password *** --port 80"],
  [["sh", "-c", "exec server --password 'hunter 2' -v"], "sh -c exec server --password *** -v"],
  [["sh", "-c", 'exec server "--password=hunter 2" -v'], 'sh -c exec server "--password=*** -v'],
  [["sh", "-c", "mysqldump -phunter2 shop"], "sh -c mysqldump -p*** shop"],
  [["sh", "-c", "curl -H 'Authorization: Bearer hunter2' x"], "sh -c curl -H 'Authorization: *** x"],
  [["sh", "-c", "sh -c 'server --token hunter2'"], "sh -c sh -c 'server --token ***'"],
  [["server", "--password-file=/run/x", "--passive-ports=1-2"], "server --password-file=/run/x --passive-ports=1-2"],
  [["python", "-m", "http.server", "--bind", "::1"], "python -m http.server --bind ::1"],
  [
    ["node", "-e", 'require("http").createServer((a, b) => b.end("x"))'],
    'node -e require("http").createServer((a, b) => b.end("x"))',
  ],
];

suite("maskCommand()", () => {
  for (const [command, shown] of commands) {
    test(command.join(" "), () => assert.equal(maskCommand(command).join(" "), shown));
  }

  test("takes linear time", () => {
    for (const word of ["a://", "a=", "'", "--password ", "a:", "\\", "?a=", "x@"]) {
      assert.ok(maskCommand([word.repeat(20_000)]).length === 1);
    }
  });
});

const lines: readonly (readonly [line: string, shown: string])[] = [
  ["  env: { DB_PASSWORD: hunter2, PORT: 80 }", "  env: { DB_PASSWORD: ***, PORT: 80 }"],
  ["  env: { DB_PASSWORD: hunter 2 hunter }", "  env: { DB_PASSWORD: ***}"],
  ["    DB_PASSWORD: hunter 2", "    DB_PASSWORD: ***"],
  ["    DB_PASSWORD: 'hunter, 2'", "    DB_PASSWORD: ***"],
  ['    "api_key": "hunter, 2" # x', '    "api_key": *** # x'],
  ["    command: [server, --password, hunter2, --port, 80]", "    command: [server, --password, ***, --port, 80]"],
  ['    command: ["server", "--token", "hunter2"]', '    command: ["server", "--token", ***]'],
  ["    command: [server, --password=hunter2]", "    command: [server, --password=***]"],
  ["    command: server --password hunter2", "    command: server --password ***"],
  ["    - TOKEN=hunter2", "    - TOKEN=***"],
  ["    url: postgres://a:hunter2@db", "    url: postgres://a:***@db"],
  ["  ready: { http: '/x?token=hunter2' }", "  ready: { http: '/x?token=***}"],
  ["    password_file: /run/x", "    password_file: /run/x"],
  ["    ports: [21, '2121:21']", "    ports: [21, '2121:21']"],
];

suite("maskLine()", () => {
  for (const [line, shown] of lines) test(line.trim(), () => assert.equal(maskLine(line), shown));
});

suite("maskUrl()", () => {
  const urls: readonly (readonly [url: string, shown: string])[] = [
    ["/health?token=hunter2", "/health?token=***"],
    ["/health?a=b&api_key=hunter2#x", "/health?a=b&api_key=***#x"],
    ["tcp://anna:hunter2@host:2375", "tcp://anna:***@host:2375"],
    ["tcp://:hunter2@host:2375", "tcp://:***@host:2375"],
    ["unix:///var/run/docker.sock", "unix:///var/run/docker.sock"],
  ];
  for (const [url, shown] of urls) test(url, () => assert.equal(maskUrl(url), shown));
});

suite("describeTarget()", () => {
  const env = {};
  const listen = { host: "127.0.0.1" };
  test("masks the command of a process before it shortens words to their last part", () => {
    const command = ["/opt/app/server", "--url=redis://:hunter2@db:6379", "postgres://a:hunter2/hunter@db/x"] as const;
    const spec: TargetSpec = { kind: "process", command, listen, env };
    assert.equal(describeTarget(spec), "process server :***@db:6379 x");
  });

  test("masks the command of inetd", () => {
    const command = ["/usr/sbin/in.x", "--password", "hunter2"] as const;
    assert.equal(
      describeTarget({ kind: "inetd", command, env, stderr: "log", wait: false }),
      "inetd in.x --password ***",
    );
  });
});
