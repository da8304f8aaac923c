# Load tools: build/<variant>/bench/NAME from tests/bench/NAME.c. Included by the Makefile; needs B and ALL_CFLAGS from it.
BENCH := $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))

$(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(ALL_CFLAGS) -MMD -MP $(ALL_LDFLAGS) -o $@ $<

-include $(wildcard $(B)/bench/*.d)
