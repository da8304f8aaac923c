#!/bin/sh
# Runs fuzz targets, as many at a time as there are cores, each for some seconds: tests/fuzz/run.sh SECONDS BINARY...
#
# tests/fuzz/corpus/NAME holds the kept seeds and is only read; what a run learns goes to build/fuzz/learned/NAME. An
# input that breaks a property lands in tests/fuzz/findings/: fix the bug, then keep the input in the corpus.
set -u
seconds=$1
shift
findings=tests/fuzz/findings

# One target: says how it went in one piece.
fuzz() {
    binary=$1
    name=${binary##*/fuzz_}
    seeds=tests/fuzz/corpus/$name
    learned=build/fuzz/learned/$name
    log=build/fuzz/$name.log
    mkdir -p "$learned" "$seeds" "$findings"
    status=0
    if "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$findings/$name-" \
        "$learned" "$seeds" >"$log" 2>&1 </dev/null; then
        said=$(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) second.*/\1 runs in \2 s/p' "$log")
    else
        said="FAILED, see $log
$(tail -n 40 "$log")"
        status=1
    fi
    printf '%-24s %s\n' "$name" "$said"
    rmdir "$seeds" 2>/dev/null # made for nothing where there are no seeds
    return $status
}

if [ $# -eq 1 ]; then
    fuzz "$1"
    exit
fi
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" "$seconds"
status=$?
rmdir "$findings" 2>/dev/null # others may be at work before all have ended
exit $status
