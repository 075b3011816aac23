bt/obj/link/frame.o: userspace/link/frame.c userspace/link/frame.h \
 userspace/base/octets.h
userspace/link/frame.h:
userspace/base/octets.h:
