/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/enroll_site.h"

#include "enroll/edit.h"

#include <errno.h>
#include <ftw.h>
#include <string.h>

int enroll_site_new(struct enroll_site *ret) {
	static const char *const servers[] = {"https://overlay.example.org/enroll"};
	char reason[PROVISION_REASON_SIZE] = "";
	uint16_t sequence;

	*ret = (struct enroll_site){.ledger = NULL};
	strcpy(ret->directory, "/tmp/ringgate-enroll.XXXXXX");
	if (!mkdtemp(ret->directory))
		return -errno;
	snprintf(ret->ca_directory, sizeof(ret->ca_directory), "%s/ca", ret->directory);
	struct provision_overlay overlay = {
		.directory = ret->ca_directory,
		.name = ENROLL_SITE_NAME,
		.key_type = KEY_ECDSA_P256,
		.enrollment_servers = servers,
		.enrollment_server_count = 1,
	};
	int error = provision_overlay_create(&overlay, reason);
	if (error == 0)
		error = edit_publish(ret->ca_directory, &sequence, reason);
	if (error == 0)
		error = ledger_open(ret->ca_directory, false, &ret->ledger, reason);
	if (error < 0)
		fprintf(stderr, "%s\n", reason);
	return error;
}

int enroll_site_add_user(struct enroll_site *site, const char *name, unsigned node_ids_max, unsigned log_n) {
	char hash[PASSWORD_TEXT_SIZE];
	int error = password_hash(OCTETS(ENROLL_SITE_PASSWORD, strlen(ENROLL_SITE_PASSWORD)), log_n, hash);

	return error < 0 ? error : ledger_user_add(site->ledger, name, hash, node_ids_max, 1);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
	(void)status, (void)type, (void)place;
	return remove(path);
}

void enroll_site_release(struct enroll_site *site) {
	site->ledger = ledger_close(site->ledger);
	nftw(site->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
