# walpush: build, test and try out. `make help` lists the targets.
#
# VARIANT chooses how the program is built, each in its own directory under build/:
#   release (default)  optimised and hardened
#   dev                -Werror, assertions, for everyday work
#   asan               AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer
#   tsan               ThreadSanitizer
VARIANT ?= release
CC      ?= cc
PREFIX  ?= /usr/local
DESTDIR ?=
# The distribution's own interpreter: it is the one that sees the distribution's packages.
PYTHON  ?= /usr/bin/python3

VERSION := 0.1.0
B       := build/$(VARIANT)

LIBS := libpq libevent libevent_pthreads libwebsockets libuv jansson libjwt libconfig
HAVE_LIBS := $(shell pkg-config --exists $(LIBS) && echo yes)

WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
            -Wformat=2 -Wundef -Wvla
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DWALPUSH_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
BASE     := -std=c17 -g -pthread $(WARN)
LDLIBS   += $(shell pkg-config --libs $(LIBS) 2>/dev/null) -pthread

FLAGS_release := -O2 -DNDEBUG -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
LINK_release  := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
FLAGS_dev     := -O1 -Werror -fno-omit-frame-pointer
LINK_dev      :=
FLAGS_asan    := -O1 -Werror -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LINK_asan     := -fsanitize=address,undefined
FLAGS_tsan    := -O1 -Werror -fno-omit-frame-pointer -fsanitize=thread
LINK_tsan     := -fsanitize=thread

ALL_CFLAGS  = $(BASE) $(FLAGS_$(VARIANT)) $(CFLAGS)
ALL_LDFLAGS = $(LINK_$(VARIANT)) $(LDFLAGS)

SRC  := $(wildcard src/*.c)
OBJ  := $(SRC:src/%.c=$(B)/%.o)
CORE := $(filter-out $(B)/main.o,$(OBJ))
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

.PHONY: all help deps run test unit integration lint format sanitize fuzz bench install uninstall clean check-libs

all: check-libs $(B)/walpush
	@ln -sf $(VARIANT)/walpush build/walpush

check-libs:
ifneq ($(HAVE_LIBS),yes)
	@echo "walpush: some of these libraries are missing: $(LIBS)" >&2
	@echo "         run 'make deps' (Debian 12 or 13, as root or with sudo)" >&2
	@exit 1
endif

$(B)/walpush: $(B)/main.o $(B)/libwalpush.a
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LDLIBS)

$(B)/libwalpush.a: $(CORE)
	@rm -f $@
	ar rcs $@ $^

$(B)/%.o: src/%.c | check-libs
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/unit/%: tests/unit/%.c $(B)/libwalpush.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/unit -UNDEBUG $(ALL_CFLAGS) -MMD -MP $(ALL_LDFLAGS) -o $@ $< $(B)/libwalpush.a $(LDLIBS) -lcmocka

-include $(wildcard $(B)/*.d $(B)/unit/*.d)

clean:
	rm -rf build
