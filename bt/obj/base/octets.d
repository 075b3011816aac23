bt/obj/base/octets.o: userspace/base/octets.c userspace/base/octets.h
userspace/base/octets.h:
