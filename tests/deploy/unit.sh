#!/bin/bash
# deploy/systemd/walpush.service in a booted Debian of this machine's release: a reload with a good and with a bad file, an end by a
# signal, an end by a bad file. Needs root and the packages debootstrap and systemd-container; a minute or two. Takes the program from
# build/walpush, or WALPUSH_BINARY. The system has a network of its own, with nothing in it: there is no database, and none is needed.
set -euo pipefail

# shellcheck source=tests/bare.sh
. "$(dirname "$0")/../bare.sh"
binary=$(realpath "${WALPUSH_BINARY:-$repository/build/walpush}")
bare_work unit
root=$work/root

step "a bare Debian with systemd"
bare_debian "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" "$root"
bare_mount "$root"
inside "$root" apt-get update -q >"$work/log"
# shellcheck disable=SC2046 # words
inside "$root" apt-get install -y -q --no-install-recommends systemd systemd-sysv dbus \
    $("$repository/deploy/runtime-packages.sh" "$binary") >>"$work/log"
umount "$root/proc" "$root/dev"

install -D -m 755 "$binary" "$root/usr/local/bin/walpush"
install -D -m 644 "$repository/sidecar.conf" "$root/usr/local/etc/walpush/sidecar.conf"
install -m 644 "$repository/deploy/systemd/walpush.service" "$root/etc/systemd/system/"
printf 'DATABASE_URL=postgresql://walpush@127.0.0.1:1/app\nJWT_SIGNING_KEY=0123456789abcdef0123456789abcdef\n' |
    install -m 600 /dev/stdin "$root/usr/local/etc/walpush/environment"

cat >"$root/root/try.sh" <<'EOF'
set -eux
trap 'journalctl -u walpush -o cat' EXIT
file=/usr/local/etc/walpush/sidecar.conf
until_state() {
    for _ in $(seq 150); do
        [ "$(systemctl is-active walpush)" = "$1" ] && return
        sleep 0.2
    done
    systemctl status walpush
    false
}
of() {
    systemctl show --property="$1" --value walpush
}
break_file() {
    echo 'slto = "a mistake"' >>$file
}
systemctl start walpush
process=$(of MainPID)
until journalctl -u walpush -o cat | grep 'msg="listening"'; do sleep 0.2; done

: A reload with a good file
systemctl reload walpush
until journalctl -u walpush -o cat | grep 'reading the configuration again'; do sleep 0.2; done

: A reload with a bad file fails, names the line, and reaches nobody
cp $file /root/good.conf
break_file
! systemctl reload walpush
journalctl -u walpush -o cat | grep 'sidecar.conf:[0-9]*: slto'
[ "$(journalctl -u walpush -o cat | grep -c 'reading the configuration again')" = 1 ]
[ "$(of MainPID)" = "$process" ]
systemctl is-active walpush

: A crash is followed by a start, and a start with a bad file by none
kill -KILL "$process"
until_state failed
[ "$(of ExecMainStatus) $(of NRestarts)" = "2 1" ]

: A crash with a good file
cp /root/good.conf $file
systemctl reset-failed walpush
systemctl start walpush
kill -KILL "$(of MainPID)"
for _ in $(seq 150); do [ "$(of NRestarts)" = 1 ] && break; sleep 0.2; done
until_state active
systemctl stop walpush
[ "$(of Result)" = success ]
: All of it works
EOF
cat >"$root/etc/systemd/system/try.service" <<'EOF'
[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
TimeoutStartSec=120
ExecStart=/bin/sh -c '/bin/bash /root/try.sh >/root/try.log 2>&1'
[Install]
WantedBy=multi-user.target
EOF
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../try.service "$root/etc/systemd/system/multi-user.target.wants/"

step "boot"
timeout 300 systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --private-network --boot >"$work/boot.log" 2>&1 </dev/null || true
grep -qx '+ : All of it works' "$root/root/try.log" || {
    cat "$work/boot.log" "$root/root/try.log"
    exit 1
}
step "all of it works"
