# walpush: build, test and try out. `make help` lists the targets.
#
# VARIANT chooses how the program is built, each in its own directory under build/:
#   release (default)  optimised and hardened
#   dev                -Werror, assertions, for everyday work
#   asan               AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
#   tsan               ThreadSanitizer
#   fuzz               for the fuzz targets, with clang
#   coverage           counts the lines that run, for `make coverage`
VARIANT ?= release
PREFIX  ?= /usr/local
DESTDIR ?=
# The distribution's own interpreter: it is the one that sees the distribution's packages.
PYTHON  ?= /usr/bin/python3
# Test files of `make integration` that run side by side, each with a PostgreSQL of its own; 0 shows what tests print. Three a core: a test
# waits more than it computes.
TEST_JOBS ?= $(shell echo $$((3 * $(CORES))))
# How long each fuzz target runs; what else pytest is told, for example PYTEST_ARGS="-x -k resume"; which
# benchmarks, all of them if empty.
FUZZ_SECONDS ?= 60
PYTEST_ARGS  ?=
BENCH        ?=
# Which mechanisms `make mutants` takes out, all of them if empty.
MUTANTS      ?=

VERSION := 0.1.0
B       := build/$(VARIANT)

LIBS := libpq libevent libevent_pthreads libwebsockets libuv libssl libcrypto jansson libjwt libconfig hiredis
HAVE_LIBS := $(shell pkg-config --exists $(LIBS) && echo yes)
# TLS to Redis, where hiredis has it.
REDIS_TLS := $(shell pkg-config --exists hiredis_ssl && echo yes)
ifdef REDIS_TLS
LIBS     += hiredis_ssl
CPPFLAGS += -DWALPUSH_REDIS_TLS
endif

WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
            -Wformat=2 -Wundef -Wvla
CPPFLAGS += -D_GNU_SOURCE -DWALPUSH_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
BASE     := -std=c17 -g -pthread $(WARN)
LDLIBS   += $(shell pkg-config --libs $(LIBS) 2>/dev/null) -pthread -lm

FLAGS_release := -O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
LINK_release  := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
FLAGS_dev     := -O1 -Werror -fno-omit-frame-pointer
LINK_dev      :=
FLAGS_asan    := -O1 -Werror -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LINK_asan     := -fsanitize=address,undefined
FLAGS_tsan    := -O1 -Werror -fno-omit-frame-pointer -fsanitize=thread
LINK_tsan     := -fsanitize=thread
FLAGS_fuzz    := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
LINK_fuzz     := -fsanitize=address,undefined
# Hubs and tap count in the same line.
FLAGS_coverage := -O0 -Werror --coverage -fprofile-update=atomic
LINK_coverage  := --coverage
ifeq ($(VARIANT),fuzz)
override CC := clang
endif

ALL_CFLAGS  = $(BASE) $(FLAGS_$(VARIANT)) $(CFLAGS)
ALL_LDFLAGS = $(LINK_$(VARIANT)) $(LDFLAGS)

SRC  := $(wildcard src/*/*.c)
OBJ  := $(SRC:src/%.c=$(B)/obj/%.o)
CORE := $(filter-out $(B)/obj/cmd/main.o,$(OBJ))
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*/fuzz_*.c))
LOAD := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))

# Targets of several steps call make again: a step may have installed the libraries the next one looks up, and the
# compiling ones use all cores unless the caller chose otherwise.
STEP  := $(MAKE) --no-print-directory
CORES := $(shell nproc 2>/dev/null || echo 1)
BUILD  = $(STEP) $(if $(findstring -j,$(MAKEFLAGS)),,-j$(CORES))
# One line a file; V=1 shows the commands.
Q     := $(if $(V),,@)
# Tests are built for everyday work unless the caller names a variant.
TESTED := $(if $(filter file,$(origin VARIANT)),dev,$(VARIANT))

# Sanitizers of these compilers cannot place their shadow memory with every address layout the kernel may choose.
FIXED_LAYOUT := $(shell setarch -R true 2>/dev/null && echo setarch -R)
export ASAN_OPTIONS  ?= halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS ?= halt_on_error=1:print_stacktrace=1
export LSAN_OPTIONS  ?= suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0
export TSAN_OPTIONS  ?= halt_on_error=1:second_deadlock_stack=1:suppressions=$(CURDIR)/tests/tsan.supp

.DEFAULT_GOAL := all

# Goals of one command go one after the other, -j or not: their steps are makes of their own, and two makes must not build the same objects.
before :=
$(foreach goal,$(MAKECMDGOALS),$(if $(before),$(eval $(goal): | $(filter-out $(goal),$(before))))$(eval before += $(goal)))

.PHONY: all help deps deps-test run test unit plain pooler asan tsan mutants integration django manifests image bare-demo unit-boot sanitize fuzz lint format bench bench-deps install uninstall \
        clean check-libs coverage run-coverage write-commands run-unit run-integration run-django fuzz-targets run-fuzz FORCE
.DELETE_ON_ERROR:

help:
	@sed -n 's/^## *//p' $(MAKEFILE_LIST)

# ---- Building ------------------------------------------------------------------------------------------------------

## make deps          install what building and trying needs (Debian 12 or 13, as root or with sudo)
deps:
	@deploy/install-deps.sh build try

## make deps-test     install what testing needs besides
deps-test:
	@deploy/install-deps.sh test
	@PYTHON=$(PYTHON) deploy/demo/python-env.sh

## make               build walpush; VARIANT=dev, asan or tsan builds it for tests, CC=clang with clang
all: check-libs $(B)/walpush
	@ln -sfn $(VARIANT)/walpush build/walpush

check-libs:
ifneq ($(HAVE_LIBS),yes)
	@echo "walpush: some of these libraries are missing: $(LIBS)" >&2
	@echo "         run 'make deps' (Debian 12 or 13, as root or with sudo)" >&2
	@exit 1
endif

$(B)/walpush: $(B)/obj/cmd/main.o $(B)/libwalpush.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/libwalpush.a: $(CORE)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

COMPILER = $(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LDLIBS)

# Changes when the compiler or its flags do, so that objects of two kinds are never mixed.
$(B)/flags: FORCE | check-libs
	@mkdir -p $(@D)
	@echo '$(COMPILER)' | cmp -s - $@ || echo '$(COMPILER)' >$@

# The headers that each layer may see, as src/LAYERS has it, below a directory of its own: an include of any other does not compile.
ROOTS := $(B)/layers
$(ROOTS)/made: src/LAYERS
	@rm -rf $(ROOTS)
	@sed -e 's/#.*//' -e 's/://' $< | while read -r layer sees; do for seen in $$layer $$sees; do \
		mkdir -p $(ROOTS)/$$layer/walpush && ln -sr include/walpush/$$seen $(ROOTS)/$$layer/walpush/$$seen; done; done
	@touch $@

# The page is part of it.
$(B)/obj/watch/admin.o: src/watch/status.html

# A test sees what the layer under test sees, and that layer's own headers.
SEEN = -I$(ROOTS)/$(*D)

$(B)/obj/%.o: src/%.c $(B)/flags $(ROOTS)/made
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(SEEN) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/unit/%: tests/unit/%.c $(B)/libwalpush.a
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(SEEN) -Isrc/$(*D) -Itests/unit $(CPPFLAGS) -UNDEBUG $(ALL_CFLAGS) -MMD -MP $(ALL_LDFLAGS) -o $@ $< \
		$(B)/libwalpush.a $(LDLIBS) -lcmocka

$(B)/fuzz/%: tests/fuzz/%.c $(B)/libwalpush.a
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(SEEN) -Isrc/$(*D) -Itests/unit -Itests/unit/$(*D) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< \
		$(B)/libwalpush.a $(LDLIBS)

$(B)/bench/%: tests/bench/%.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -O2 -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(LDLIBS)

-include $(wildcard $(B)/obj/*/*.d $(B)/unit/*/*.d $(B)/fuzz/*/*.d $(B)/bench/*.d)

# ---- Trying --------------------------------------------------------------------------------------------------------

## make run           install, build, and watch live messages of a throwaway PostgreSQL; with DATABASE_URL, of that one
run: deps
	+@$(BUILD) all
	@$(PYTHON) deploy/try/try.py

# ---- Testing -------------------------------------------------------------------------------------------------------

# Each test runs once, with AddressSanitizer and UBSan; those that a sanitizer cannot run, or makes smaller, in `plain` (tests/conftest.py);
# those in which threads meet in `tsan` too. Tests wait more than they compute, so parts run side by side; lint, and building what is
# fuzzed, wait for nobody: they take the time that the tests leave. The builds that lanes share are made first: two makes must not build
# the same objects.
## make test          install what is needed, then all that CI runs, the fuzz targets for 5 seconds each and the wire for 30
test: deps deps-test
	@tests/run.py parts "build=$(BUILD) all && $(BUILD) VARIANT=dev all" "packages=$(STEP) packages" \
		"[" "unit=$(STEP) VARIANT=asan unit" "integration=WALPUSH_TEST_SLOWDOWN=3 $(STEP) VARIANT=asan integration" "tsan=$(STEP) tsan" \
		"|" "e2e=$(STEP) e2e" "client=$(STEP) client" "manifests=$(STEP) manifests" "django=$(STEP) django" "plain=$(STEP) plain" \
		"|" "lint=nice -n 19 $(STEP) lint" "targets=nice -n 19 $(BUILD) VARIANT=fuzz fuzz-targets" "]" \
		"fuzz=$(STEP) fuzz FUZZ_SECONDS=5 WIRE_SECONDS=30 WIRE_LIBRARY=installed"

## make unit          the modules, one by one
unit:
	+@$(BUILD) VARIANT=$(TESTED) run-unit

## make coverage      the lines of src/ that the unit tests run, by layer and by file; build/coverage/index.html shows each line
coverage:
	+@$(BUILD) VARIANT=coverage run-coverage

run-coverage: $(UNIT)
	@find $(B) -name '*.gcda' -delete
	@tests/run.py unit $^
	@tests/coverage/coverage.py $(B)

## make mutants       takes one mechanism out at a time, and sees its tests fail; MUTANTS="name name" chooses
mutants:
	@$(PYTHON) tests/mutants/mutants.py $(MUTANTS)

## make compile_commands.json   how each file of src/ and tests/unit is compiled, for clangd and clang-tidy
compile_commands.json: FORCE
	+@$(STEP) VARIANT=$(TESTED) write-commands

# With the headers of its layer alone in sight, as in the build.
COMMAND = { "directory": "$(CURDIR)", "file": "$1", "command": "$(subst ",\",$(subst \,\\,$(CC) $2 $(CPPFLAGS) $(ALL_CFLAGS) -c $1))" },
layer_of = $(patsubst %/,%,$(dir $(1:$2/%=%)))
TESTS_OF_UNITS := $(wildcard tests/unit/*/*.c)

write-commands: $(ROOTS)/made
	$(file >$(B)/commands,$(foreach one,$(SRC),$(call COMMAND,$(one),-I$(ROOTS)/$(call layer_of,$(one),src))))
	$(file >>$(B)/commands,$(foreach one,$(TESTS_OF_UNITS),$(call COMMAND,$(one),-I$(ROOTS)/$(call layer_of,$(one),tests/unit) \
		-Isrc/$(call layer_of,$(one),tests/unit) -Itests/unit -UNDEBUG)))
	@(echo '['; sed -e '$$s/,$$//' -e 's/}, {/},\n{/g' $(B)/commands; echo ']') >compile_commands.json

## make integration   the program against a PostgreSQL of its own
integration:
	+@$(BUILD) VARIANT=$(TESTED) run-integration

## make django        the program beside a real Django application
django:
	+@$(BUILD) VARIANT=$(TESTED) run-django

## make manifests     the files of deploy/, against the schemas and tools that read them; and `make install`
manifests: all
	@PYTHON=$(PYTHON) tests/deploy/venv.sh
	@PYTHON=$(PYTHON) deploy/demo/python-env.sh
	@build/venv-deploy/bin/python -m pytest -p no:cacheprovider -q tests/deploy $(PYTEST_ARGS)

## make image         deploy/Dockerfile built by buildah on a bare Debian 13, and run; as root, some minutes
image:
	@tests/deploy/image.sh

## make unit-boot     the systemd unit in a booted Debian: reloads, a crash, a bad file; as root, a minute or two
unit-boot: all
	@tests/deploy/unit.sh

## make bare-demo     make demo in bare Debian 12 and 13, to its first page in a browser, twice; as root, some minutes
bare-demo:
	@tests/deploy/demo.sh bookworm
	@tests/deploy/demo.sh trixie

## make pooler        walpush through a PgBouncer that carries replication, from a bare Debian 13; as root, a minute or two
pooler:
	+@$(BUILD) VARIANT=$(TESTED) all
	@WALPUSH_BINARY=$(CURDIR)/build/$(TESTED)/walpush PYTHON=$(PYTHON) tests/deploy/pooler.sh

## make plain         of the integration tests those that a sanitizer cannot run, or makes smaller; and chaos
plain:
	+@$(BUILD) VARIANT=$(TESTED) run-integration PLAIN=yes

## make sanitize      unit and integration under AddressSanitizer with UBSan (asan), and under ThreadSanitizer (tsan)
sanitize: asan
	+@$(STEP) tsan

asan:
	+@$(STEP) VARIANT=asan unit
	+@WALPUSH_TEST_SLOWDOWN=3 $(STEP) VARIANT=asan integration

tsan:
	+@$(STEP) VARIANT=tsan unit
	+@WALPUSH_TEST_SLOWDOWN=5 $(STEP) VARIANT=tsan integration

## make fuzz          each fuzz target for FUZZ_SECONDS (60), and the wire as `make wire` does
fuzz:
	+@$(BUILD) VARIANT=fuzz run-fuzz
	+@$(BUILD) VARIANT=asan run-wire

run-unit: $(UNIT)
	@$(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) tests/run.py unit $^

# Under ThreadSanitizer those in which threads meet.
# Chaos is about time, which sanitizers take. A file that takes long comes early, so that no core waits for it at the end.
INTEGRATION_dev     := tests/chaos tests/integration tests/wire
INTEGRATION_release := $(INTEGRATION_dev)
INTEGRATION_asan    := tests/integration
INTEGRATION_tsan    := $(addprefix tests/integration/,test_permission_isolation.py test_reload.py test_push.py test_fanout.py test_refetch.py \
                                   test_reconnect.py test_audit.py test_shutdown.py test_permission_races.py)

run-integration: all $(LOAD)
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush WSLOAD_BINARY=$(CURDIR)/$(B)/bench/wsload \
		$(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		$(PYTHON) -m pytest -p no:cacheprovider -q -n $(TEST_JOBS) --dist loadfile $(INTEGRATION_$(VARIANT)) $(if $(PLAIN),-m "plain or whole") $(PYTEST_ARGS)

run-django: all
	@PYTHON=$(PYTHON) deploy/demo/python-env.sh
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush $(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		build/venv/bin/python -m pytest -p no:cacheprovider -q tests/django $(PYTEST_ARGS)

fuzz-targets: $(FUZZ)

run-fuzz: $(FUZZ)
	@$(FIXED_LAYOUT) tests/fuzz/run.sh $(FUZZ_SECONDS) $^

include tests/chaos/chaos.mk
include tests/poison/poison.mk
include tests/integration/isolation.mk
include tests/integration/plugins.mk
include tests/matrix/matrix.mk
include tests/wire/wire.mk
include client/client.mk

## make lint          formatting, clang-tidy, cppcheck, shellcheck, and who calls whom in src/
lint:
	+@$(BUILD) VARIANT=dev all compile_commands.json
	@tests/lint.sh

## make format        put every C file into the shape that lint asks for
format:
	@clang-format -i $(wildcard src/*/*.[ch] include/walpush/*/*.h tests/*/*.[ch] tests/*/*/*.[ch])

## make bench-deps    install what the benchmarks compare with: Redis, and below build/bench Django Channels and Node's ws
bench-deps:
	@deploy/install-deps.sh build try bench
	@PYTHON=$(PYTHON) tests/bench/peers/install.sh build/bench

## make bench         walpush beside the floors of the machine and its peers; BENCH="fanout latency" runs some of it
bench:
	+@$(BUILD) VARIANT=release all $(LOAD:$(B)/%=build/release/%)
	@$(PYTHON) tests/bench/run.py $(BENCH)

# ---- Installing ----------------------------------------------------------------------------------------------------

BINDIR := $(DESTDIR)$(PREFIX)/bin
ETC    := $(if $(filter /usr,$(PREFIX)),,$(PREFIX))/etc/walpush
ETCDIR := $(DESTDIR)$(ETC)
SHARE  := $(DESTDIR)$(PREFIX)/share/walpush
DOCDIR := $(DESTDIR)$(PREFIX)/share/doc/walpush
MANDIR := $(DESTDIR)$(PREFIX)/share/man/man1
# In what is installed, the places where it is.
PLACES := -e 's|/usr/local/etc/walpush|$(ETC)|g' -e 's|/usr/local/|$(PREFIX)/|g'

## make install       into PREFIX (/usr/local), below DESTDIR; `make uninstall` removes the same files
install: all
	install -d $(BINDIR) $(ETCDIR) $(SHARE)/sql $(SHARE)/systemd $(SHARE)/prometheus $(SHARE)/grafana $(DOCDIR) $(MANDIR)
	install -m 755 $(B)/walpush $(BINDIR)/walpush
	install -m 644 sidecar.conf $(ETCDIR)/sidecar.conf.example
	install -m 644 $(wildcard sql/*.sql) $(SHARE)/sql
	sed $(PLACES) deploy/systemd/walpush.service >$(SHARE)/systemd/walpush.service
	install -m 644 deploy/prometheus/walpush.rules.yaml $(SHARE)/prometheus
	install -m 644 deploy/grafana/walpush.json $(SHARE)/grafana
	install -m 644 README.md CHANGELOG.md LICENSE $(wildcard docs/*.md) $(DOCDIR)
	sed $(PLACES) docs/walpush.1 >$(MANDIR)/walpush.1
	chmod 644 $(SHARE)/systemd/walpush.service $(MANDIR)/walpush.1

uninstall:
	rm -f $(BINDIR)/walpush $(ETCDIR)/sidecar.conf.example $(MANDIR)/walpush.1
	rm -rf $(SHARE) $(DOCDIR)
	-rmdir $(ETCDIR) 2>/dev/null

## make clean         remove what was built
clean:
	rm -rf build compile_commands.json client/dist $(FRONTEND)/dist
