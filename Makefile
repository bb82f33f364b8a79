# Only forwards: everything is in ./dev, which works without make too.
.PHONY: demo test slow setup lint lock
demo test slow setup lint lock:
	@./dev $@ $(ARGS)
