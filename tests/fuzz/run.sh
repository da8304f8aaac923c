#!/bin/sh
# Runs fuzz targets one after the other, each for some seconds: tests/fuzz/run.sh SECONDS BINARY...
#
# tests/fuzz/corpus/NAME holds the kept seeds and is only read; what a run learns goes to build/fuzz/learned/NAME. An
# input that breaks a property lands in tests/fuzz/findings/: mend the bug, then keep the input in the corpus.
set -u
seconds=$1
shift
findings=tests/fuzz/findings
status=0

for binary in "$@"; do
    name=${binary##*/fuzz_}
    seeds=tests/fuzz/corpus/$name
    learned=build/fuzz/learned/$name
    log=build/fuzz/$name.log
    mkdir -p "$learned" "$seeds" "$findings"
    printf '%-24s ' "$name"
    if "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$findings/$name-" \
        "$learned" "$seeds" >"$log" 2>&1 </dev/null; then
        sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) second.*/\1 runs in \2 s/p' "$log"
    else
        echo "FAILED, see $log"
        tail -n 40 "$log"
        status=1
    fi
    rmdir "$seeds" 2>/dev/null # made for nothing where there are no seeds
done
rmdir "$findings" 2>/dev/null
exit $status
