bt/obj/overlay/digest.o: userspace/overlay/digest.c \
 userspace/overlay/digest.h userspace/base/octets.h \
 userspace/base/cleanup.h
userspace/overlay/digest.h:
userspace/base/octets.h:
userspace/base/cleanup.h:
