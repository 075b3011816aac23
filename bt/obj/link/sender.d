bt/obj/link/sender.o: userspace/link/sender.c userspace/link/sender.h
userspace/link/sender.h:
