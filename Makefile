# Only forwards: everything is in ./dev, which works without make too.
.PHONY: demo quick test slow setup lint lock
demo quick test slow setup lint lock:
	@./dev $@ $(ARGS)
