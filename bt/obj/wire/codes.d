bt/obj/wire/codes.o: userspace/wire/codes.c userspace/wire/codes.h \
 userspace/base/cleanup.h
userspace/wire/codes.h:
userspace/base/cleanup.h:
