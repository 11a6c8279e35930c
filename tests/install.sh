#!/bin/bash
# Installs what is missing; does nothing where all is there.
#   install.sh server    MariaDB's server: `make demo` and all tests on real servers
#   install.sh packages  the server, and what the clients' checks need from Debian
#   install.sh clients   the clients' libraries, under target/e2e
#   install.sh suite     MariaDB's own tests
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "tests/install.sh: $*" >&2; exit 1; }
say() { echo "tests/install.sh: $*" >&2; }

# apt PACKAGE...: only those that are missing. No service is started by it: we run servers of our own.
apt() {
  local missing=() p sudo=() policy=/usr/sbin/policy-rc.d made=
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "please install: ${missing[*]} (this is not Debian or Ubuntu, so it is not done here)"
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "please install, as root: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  say "installing ${missing[*]}"
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null; "${sudo[@]}" chmod 755 $policy; made=1
  fi
  local get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
  local log; log=$(mktemp) ok=
  for p in 1 2 3; do
    if "${get[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then ok=1; break; fi
    # No lists yet, or old ones.
    "${get[@]}" update >>"$log" 2>&1 || true
  done
  [ -z "$made" ] || "${sudo[@]}" rm -f $policy
  [ -n "$ok" ] || { tail -20 "$log" >&2; die "cannot install ${missing[*]}"; }
  rm -f "$log"
}

server() {
  if [ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null; then
    command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null && return 0
  fi
  apt mariadb-server mariadb-client
}

packages() {
  server
  local more=(mariadb-client galera-4 rsync lsof sysbench libmariadb-dev pkg-config valgrind)
  command -v cc >/dev/null || more+=(build-essential)
  python3 -c 'import ensurepip, venv' 2>/dev/null || more+=(python3-venv)
  # mysqlclient is compiled: it needs Python's headers.
  python3 -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || more+=(python3-dev)
  command -v node >/dev/null && command -v npm >/dev/null || more+=(nodejs npm)
  command -v go >/dev/null || more+=(golang-go)
  # The checks are of Java 17's language.
  javac -version 2>&1 | grep -qE '^javac (1[7-9]|[2-9][0-9])' || more+=(default-jdk-headless)
  command -v etcd >/dev/null && command -v etcdctl >/dev/null || more+=(etcd-server etcd-client)
  apt "${more[@]}"
}

# once NAME FILE... -- COMMAND...: runs the command unless it has succeeded before with these files.
once() {
  local name=$1 files=(); shift
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  local stamp=$CACHE/$name.stamp sum; sum=$(cat "${files[@]}" tests/install.sh | sha256sum)
  [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || return 0
  say "installing the $name clients' libraries"
  local log=$CACHE/$name.log try
  for try in 1 2 3; do
    if "$@" >"$log" 2>&1; then echo "$sum" >"$stamp"; return 0; fi
    sleep $((try * 5))
  done
  tail -20 "$log" >&2; die "the $name clients' libraries cannot be installed; the log is $log"
}

python_libraries() {
  local venv=$CACHE/venv
  [ -x "$venv/bin/pip" ] || { rm -rf "$venv"; python3 -m venv "$venv"; } &&
    "$venv/bin/pip" install -q --disable-pip-version-check -r tests/clients/python/requirements.txt
}

node_libraries() {
  mkdir -p "$CACHE/node" && cp tests/clients/node/package*.json "$CACHE/node/" &&
    (cd "$CACHE/node" && npm ci --no-audit --no-fund --loglevel=error)
}

# Built here, so that the tests only run it.
go_client() {
  (cd tests/clients/go && GOPATH=$CACHE/go GOFLAGS=-modcacherw go build -o "$CACHE/go-client" .)
}

# jar SHA256 GROUP ARTIFACT VERSION: from Maven's repository; through Maven where only that has a way to it (a mirror, a proxy).
jar() {
  local sum=$1 group=$2 artifact=$3 version=$4 name=$3-$4.jar
  local file=$CACHE/java/$name path=${group//.//}/$artifact/$version/$name
  same() { echo "$sum  $file" | sha256sum --check --status 2>/dev/null; }
  same && return 0
  curl -sSfL --retry 2 --max-time 300 -o "$file" "https://repo1.maven.org/maven2/$path" && same && return 0
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get \
    -Dartifact="$group:$artifact:$version" -Dtransitive=false &&
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
      -Dartifact="$group:$artifact:$version" -DoutputDirectory="$CACHE/java" && same
}

java_client() {
  mkdir -p "$CACHE/java" &&
    jar 0353648eaa1c91e0f4020c959abf756bc866ffd583df22ae6b6f6e0cbd43eb44 com.mysql mysql-connector-j 9.7.0 &&
    jar 42604178b9e57ec08ee0035079961516f086e455d0141f0b22c6eff29fb2fff4 org.mariadb.jdbc mariadb-java-client 3.5.11 &&
    javac -encoding UTF-8 -d "$CACHE/java" tests/clients/java/Checks.java
}

clients() {
  CACHE=${CARGO_TARGET_DIR:-target}/e2e; mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)
  once python tests/clients/python/requirements.txt -- python_libraries
  once node tests/clients/node/package-lock.json -- node_libraries
  once go tests/clients/go/go.mod tests/clients/go/go.sum tests/clients/go/main.go -- go_client
  once java tests/clients/java/Checks.java -- java_client
}

case ${1:-} in
  server) server;;
  packages) packages;;
  suite) server; apt mariadb-test;;
  clients) clients;;
  *) sed -n '2,6p' "$0" >&2; exit 2;;
esac
