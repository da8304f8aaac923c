# Rows of hundreds of MB, against the real thing: see tests/poison/test_poison.py. Some need root, for a cgroup of their own.
.PHONY: poison run-poison

## make poison        rows that the server, the plugin, libpq or the memory cannot take; some minutes, and 4 GB of memory
poison:
	+@$(BUILD) VARIANT=$(if $(filter file,$(origin VARIANT)),release,$(VARIANT)) run-poison

run-poison: all
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush $(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		$(PYTHON) -m pytest -p no:cacheprovider -v -s tests/poison $(PYTEST_ARGS)
