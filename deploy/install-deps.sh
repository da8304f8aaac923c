#!/bin/sh
# Installs Debian's packages (12 and 13), as root or through sudo, and does nothing where they are there already.
#
#   deploy/install-deps.sh build              to compile walpush
#   deploy/install-deps.sh build try          and to try it with a throwaway PostgreSQL: `make deps`
#   deploy/install-deps.sh build try demo     and the whole application: `make demo`
#   deploy/install-deps.sh build try bench    for `make bench` with all that it compares with
#   deploy/install-deps.sh test               to test, lint and fuzz it: `make deps-test`
set -eu

build="gcc libc6-dev make pkgconf uthash-dev libpq-dev libevent-dev libwebsockets-dev libwebsockets-evlib-uv libuv1-dev
       libssl-dev libjansson-dev libjwt-dev libconfig-dev libhiredis-dev"
try="python3 python3-psycopg2 postgresql wal2json"
demo="ca-certificates python3-venv nodejs npm"
bench="$demo python3-jwt python3-redis redis-tools"
test="$try $demo python3-pytest python3-pytest-xdist python3-websockets python3-jwt python3-cryptography python3-redis
      libcmocka-dev openssl redis-tools cmake dpkg-dev
      clang clang-format clang-tidy libclang-rt gcovr cppcheck shellcheck prometheus chromium man-db bubblewrap"

# wal2json's and libclang-rt's packages have a version in their names, which the distribution chooses.
# A Node.js from elsewhere is as good, and brings its own npm.
installed() {
    case $1 in
    nodejs) command -v node >/dev/null && return ;;
    npm) command -v npm >/dev/null && return ;;
    esac
    case $1 in
    wal2json) pattern='postgresql-[0-9]*-wal2json' ;;
    libclang-rt) pattern='libclang-rt-[0-9]*-dev' ;;
    *) pattern=$1 ;;
    esac
    dpkg-query -W -f '${db:Status-Status}\n' "$pattern" 2>/dev/null | grep -q '^installed$'
}

package_of() {
    case $1 in
    wal2json) echo "$(apt-cache depends postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p')-wal2json" ;;
    libclang-rt) echo libclang-rt-dev ;;
    *) echo "$1" ;;
    esac
}

missing=
for set in "$@"; do
    case $set in
    build) names=$build ;;
    try) names=$try ;;
    demo) names=$demo ;;
    bench) names=$bench ;;
    test) names=$test ;;
    *) echo "usage: $0 [build] [try] [demo] [bench] [test]" >&2 && exit 2 ;;
    esac
    command -v dpkg-query >/dev/null || {
        echo "walpush: this is not Debian; install the like of: $names" >&2
        exit 1
    }
    for name in $names; do
        installed "$name" || missing="$missing $name"
    done
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=
elif command -v sudo >/dev/null; then
    as_root=sudo
else
    echo "walpush: these packages are missing, and only root can install them:$missing" >&2
    exit 1
fi

apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

echo "walpush: installing$missing"
apt update

# Debian's package makes a cluster "main" when it is installed and starts it at boot. Nobody asked for that here.
dropin=/etc/postgresql-common/createcluster.d/walpush.conf
case $missing in
*postgresql*)
    $as_root mkdir -p "${dropin%/*}"
    echo 'create_main_cluster = false' | $as_root tee "$dropin" >/dev/null
    trap '$as_root rm -f "$dropin"' EXIT
    ;;
esac

# Of Prometheus only promtool is wanted: its package would start a server, now and at every boot.
policy=/usr/sbin/policy-rc.d
case $missing in
*prometheus*)
    [ -e "$policy" ] || {
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
        trap '$as_root rm -f "$dropin" "$policy"' EXIT
    }
    ;;
esac

packages=
for name in $missing; do
    packages="$packages $(package_of "$name")"
done
# shellcheck disable=SC2086 # a list of words
apt install -y --no-install-recommends $packages
case $missing in
*prometheus*) ! command -v systemctl >/dev/null || $as_root systemctl disable -q prometheus || true ;;
esac
