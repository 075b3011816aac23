bt/obj/base/address.o: userspace/base/address.c userspace/base/address.h
userspace/base/address.h:
