#!/bin/sh
# Formatting, clang-tidy, cppcheck and shellcheck. Runs all of them and fails if one does.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0

for tool in clang-format clang-tidy cppcheck shellcheck; do
    command -v "$tool" >/dev/null || {
        echo "walpush: $tool is missing: make deps-test" >&2
        exit 1
    }
done

say() {
    printf '%-13s' "$1"
}

verdict() {
    if [ "$1" -eq 0 ]; then
        echo ok
    else
        echo FAILED
        status=1
    fi
}

c_files=$(find src include tests -name '*.[ch]' | sort)
sources=$(find src -name '*.c' | sort)

# Versions of clang-format differ in small things: the one of Debian 12 is the measure.
say clang-format
version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
if [ "$version" = 14 ]; then
    # shellcheck disable=SC2086 # a list of names without spaces
    clang-format --dry-run --Werror $c_files
    verdict $?
else
    echo "skipped: this is version $version, the measure is 14"
fi

say clang-tidy
# Compiled as the build compiles them; .clang-tidy says which findings count. On stderr clang-tidy only counts what it does not show. One file
# a process: of several, the analyzer of version 14 takes what it knew of one for the next.
# shellcheck disable=SC2086
printf '%s\n' $sources | xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p . 2>/dev/null
verdict $?

say cppcheck
# Without our headers: this version does not know __VA_OPT__ and would leave out every file that logs. So it cannot see
# what a function fills in through a pointer, and uninitvar is left to the compilers and sanitizers.
# shellcheck disable=SC2086
cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --inline-suppr --std=c11 -D_GNU_SOURCE '-DWALPUSH_VERSION=""' \
    -j "$(nproc)" --library=tests/cppcheck.cfg --suppress=missingInclude --suppress=missingIncludeSystem \
    --suppress=uninitvar --suppress=normalCheckLevelMaxBranches --suppress=internalAstError --suppress=arrayIndexThenCheck $sources
verdict $?

say shellcheck
git ls-files '*.sh' .ci/run | xargs shellcheck --severity=warning
verdict $?

say functions
tests/functions.py
verdict $?

say layers
tests/layers.py build/dev/obj
verdict $?

# fail_never says where and why; a bare abort() does not.
say abort
! grep -rnE '\babort\(\);' src include | grep -v '^src/base/fail\.c:'
verdict $?

exit $status
