# shellcheck shell=bash
# Bare Debian systems in directories, for the scripts here that source this. They need root and the debootstrap package.
#
#   bare_work NAME            makes a directory $work below TMPDIR (/var/tmp), which goes at the end of the script; KEEP=1 keeps it
#   bare_debian SUITE DIR     a minimal system, with the network settings of this machine; BASE names one to copy instead
#   bare_mount DIR            /proc and /dev in it
#   inside DIR COMMAND...     as its root, without an init, a terminal or anything of this environment but BARE_ENV

work= # set by bare_work
# shellcheck disable=SC2034 # for who sources this
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

bare_work() {
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/walpush-$1-XXXXXX")
    trap bare_finish EXIT
    chmod 755 "$work" # what is below becomes the / of other users than root
}

bare_finish() {
    # Ours, and what an interrupted debootstrap left.
    awk -v below="$work/" 'index($2, below) == 1 { print $2 }' /proc/mounts | sort -r | while read -r directory; do
        umount "$directory" 2>/dev/null || umount --lazy "$directory"
    done
    if [ -n "${KEEP:-}" ]; then
        echo "kept: $work"
    else
        # Never into a mounted file system: that would be the host's own.
        rm -rf --one-file-system "$work"
    fi
}

# The mirror that this machine itself uses; MIRROR names another.
bare_mirror() {
    echo "${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)}"
}

bare_debian() {
    local suite=$1 root=$2

    if [ -n "${BASE:-}" ]; then
        cp -a "$BASE" "$root"
    else
        debootstrap --variant=minbase "$suite" "$root" "$(bare_mirror)" >"$root.log" 2>&1 || {
            cat "$root.log"
            exit 1
        }
    fi
    # It will be thrown away, so dpkg need not wait for the disk.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/99bare"
    # The network settings of this machine, a proxy for apt among them.
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    apt-config dump | grep '^Acquire::http' >"$root/etc/apt/apt.conf.d/99host" || true
    # And whom it trusts besides: a proxy may sign for the registries of pip and npm.
    mkdir -p "$root/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp -L {} "$root/usr/local/share/ca-certificates/" \;
}

bare_mount() {
    mount --bind /proc "$1/proc"
    mount --bind /dev "$1/dev"
}

# BARE_ENV: further variables, for example where npm's registry is.
bare_command() {
    local root=$1
    shift
    command=(env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive)
    # shellcheck disable=SC2206 # words
    command+=(${BARE_ENV:-} chroot "$root" "$@")
}

inside() {
    local command
    bare_command "$@"
    "${command[@]}" </dev/null
}

step() {
    echo "==== $*"
}
