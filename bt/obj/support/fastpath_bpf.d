bt/obj/support/fastpath_bpf.o: tests/support/fastpath_bpf.c \
 tests/support/fastpath_bpf.h
tests/support/fastpath_bpf.h:
