# Every version of PostgreSQL with both plugins: see matrix.py. What it fetches and builds is in build/pg-matrix.
.PHONY: pg-matrix run-matrix

## make pg-matrix     PostgreSQL 13 to 18, with pgoutput and with wal2json, all fetched; an hour; VERSIONS="18 14" PLUGINS=pgoutput for a part of it
pg-matrix:
	+@$(BUILD) VARIANT=$(TESTED) run-matrix

run-matrix: all
	@WALPUSH_BINARY=$(CURDIR)/$(B)/walpush TEST_JOBS=$(TEST_JOBS) $(if $(filter asan tsan,$(VARIANT)),$(FIXED_LAYOUT)) \
		$(PYTHON) tests/matrix/matrix.py --versions "$(VERSIONS)" --plugins "$(PLUGINS)"
