bt/obj/base/id.o: userspace/base/id.c userspace/base/id.h \
 userspace/base/octets.h
userspace/base/id.h:
userspace/base/octets.h:
