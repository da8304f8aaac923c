# Who hears what, at the whole size: see test_permission_isolation.py. Without SEED one is drawn for each test and printed.
.PHONY: isolation run-isolation

## make isolation     50 units, 1,000 users: every kind of membership, one replica and three, and DDL meanwhile; SEED=n for a certain run
isolation:
	+@$(BUILD) VARIANT=$(TESTED) run-isolation

run-isolation: all
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush ISOLATION_WHOLE=1 ISOLATION_SEED=$(SEED) $(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		$(PYTHON) -m pytest -p no:cacheprovider -v tests/integration/test_permission_isolation.py $(PYTEST_ARGS)
