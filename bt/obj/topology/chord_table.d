bt/obj/topology/chord_table.o: userspace/topology/chord_table.c \
 userspace/topology/chord_table.h userspace/base/id.h \
 userspace/base/octets.h
userspace/topology/chord_table.h:
userspace/base/id.h:
userspace/base/octets.h:
