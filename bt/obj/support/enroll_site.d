bt/obj/support/enroll_site.o: tests/support/enroll_site.c \
 tests/support/enroll_site.h userspace/enroll/ledger.h \
 userspace/base/cleanup.h userspace/enroll/password.h \
 userspace/base/octets.h userspace/enroll/provision.h \
 userspace/overlay/certificate.h userspace/base/id.h \
 userspace/overlay/config.h userspace/base/address.h \
 userspace/overlay/kind.h userspace/wire/codes.h userspace/enroll/edit.h
tests/support/enroll_site.h:
userspace/enroll/ledger.h:
userspace/base/cleanup.h:
userspace/enroll/password.h:
userspace/base/octets.h:
userspace/enroll/provision.h:
userspace/overlay/certificate.h:
userspace/base/id.h:
userspace/overlay/config.h:
userspace/base/address.h:
userspace/overlay/kind.h:
userspace/wire/codes.h:
userspace/enroll/edit.h:
