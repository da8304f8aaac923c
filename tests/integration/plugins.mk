# Both plugins at the whole size: see test_plugins.py. Without SEED one is drawn and printed.
.PHONY: plugins run-plugins

## make plugins       200,000 changes, through wal2json and through pgoutput: the same messages; SEED=n for a certain run, CHANGES=n for another size
plugins:
	+@$(BUILD) VARIANT=$(TESTED) run-plugins

run-plugins: all
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush PLUGINS_CHANGES=$(or $(CHANGES),200000) PLUGINS_SEED=$(SEED) \
		$(PYTHON) -m pytest -p no:cacheprovider -v tests/integration/test_plugins.py $(PYTEST_ARGS)
