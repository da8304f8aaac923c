#!/bin/bash
# deploy/Dockerfile, built by buildah from a clean clone of HEAD, on a bare Debian 13 in place of the base image, which needs no registry
# of images; then the program runs in it, as the image says: its user, its entry point, its health check. Without a daemon, and without
# namespaces (--isolation chroot). Needs root and the packages debootstrap and buildah; some minutes. KEEP=1 keeps the directory.
set -euo pipefail

# shellcheck source=tests/bare.sh
. "$(dirname "$0")/../bare.sh"
bare_work image

builder() {
    # Its configuration and its images stay below $work.
    CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_REGISTRIES_CONF=$work/registries.conf buildah "$@"
}
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/storage" "$work/run" >"$work/storage.conf"
: >"$work/registries.conf" # so nothing is pulled

step "the base: a bare Debian 13"
bare_debian trixie "$work/base"
base=$(builder from scratch)
builder add --quiet "$base" "$work/base" / >/dev/null
builder commit --quiet --rm "$base" localhost/walpush-base >/dev/null

step "buildah build -f deploy/Dockerfile"
git clone --quiet --no-hardlinks "$repository" "$work/clone"
(cd "$work/clone" && builder build --isolation chroot --network host --format docker --layers=false --pull-never \
    --build-arg BASE=localhost/walpush-base --file deploy/Dockerfile --tag localhost/walpush .)

step "what the image says"
said() {
    builder inspect --type image --format "{{$1}}" localhost/walpush
}
[ "$(said .Docker.Config.User)" = 65532:65532 ]
[ "$(said .Docker.Config.Entrypoint)" = "[/usr/bin/walpush]" ]
[ "$(said .Docker.Config.Cmd)" = "[run -c /etc/walpush/sidecar.conf]" ]
[ "$(said .Docker.Config.Healthcheck.Test)" = "[CMD /usr/bin/walpush health -c /etc/walpush/sidecar.conf]" ]

step "the program in it"
container=$(builder from --pull-never localhost/walpush)
# Free when asked, which is near enough.
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
in_image() {
    builder run --isolation chroot --network host --env DATABASE_URL=postgresql://walpush@127.0.0.1:1/app \
        --env JWT_SIGNING_KEY=0123456789abcdef0123456789abcdef --env WALPUSH_LISTEN_ADDRESS=127.0.0.1 --env WALPUSH_LISTEN_PORT=0 \
        --env WALPUSH_ADMIN_PORT="$port" "$container" -- "$@"
}
in_image id -u | grep -qx 65532
in_image /usr/bin/walpush --version | tee "$work/version"
grep -qx "walpush $(sed -n 's/^VERSION *:= *//p' "$work/clone/Makefile")" "$work/version"
in_image /usr/bin/walpush check --offline -c /etc/walpush/sidecar.conf
in_image /usr/bin/walpush sql -c /etc/walpush/sidecar.conf >"$work/setup.sql"
grep -q '^CREATE TEMP VIEW' "$work/setup.sql"
# The image's own command, until its own health check succeeds, and its end by the image's signal.
# shellcheck disable=SC2016 # for the shell in the image
in_image timeout 60 sh -ec '
    /usr/bin/walpush run -c /etc/walpush/sidecar.conf 2>/tmp/log & program=$!
    until /usr/bin/walpush health -c /etc/walpush/sidecar.conf 2>/dev/null; do
        kill -0 $program || { cat /tmp/log; exit 1; }
        sleep 0.1
    done
    kill -TERM $program
    wait $program'
step "all of it works"
