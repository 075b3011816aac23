bt/obj/base/runtime.o: userspace/base/runtime.c userspace/base/runtime.h
userspace/base/runtime.h:
