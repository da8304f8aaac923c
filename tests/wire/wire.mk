# Strangers on the socket: see tests/wire/wire.py. Without SEED one is drawn and printed.
WIRE_SECONDS ?= 600
CONNECTIONS  ?=
ONLY         ?=
# The library that the program runs with: Debian's source built with AddressSanitizer, or `installed`.
WIRE_LIBRARY ?= asan

.PHONY: wire run-wire wire-library

## make wire          strangers do anything to the socket for WIRE_SECONDS (600), plain and TLS, under ASan; SEED=n repeats a run, ONLY=n one connection of it
wire:
	+@$(BUILD) VARIANT=$(if $(filter file,$(origin VARIANT)),asan,$(VARIANT)) run-wire

wire-library:
	@tests/wire/lws.sh build/lws-asan

# AddressSanitizer in the library needs it in the program.
WIRE_WITH = $(if $(filter asanasan,$(VARIANT)$(WIRE_LIBRARY)),build/lws-asan/lib)

run-wire: all $(if $(filter asanasan,$(VARIANT)$(WIRE_LIBRARY)),wire-library)
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush WALPUSH_TEST_SLOWDOWN=$(if $(filter asan tsan,$(VARIANT)),2,1) \
		$(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) $(PYTHON) tests/wire/wire.py \
		$(if $(CONNECTIONS),--connections $(CONNECTIONS),--seconds $(WIRE_SECONDS)) $(if $(WIRE_WITH),--library $(CURDIR)/$(WIRE_WITH)) \
		$(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))
