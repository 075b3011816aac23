/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new version of an overlay's configuration document, and putting it before the enrollment server. Documents are changed as text,
 * so that everything this program knows nothing about stays as it was and kind signatures, which cover exact octets, stay good.
 *
 * In an overlay's directory, overlay.xml is what the operator works on and published.xml what the server hands out.
 */
#pragma once

#include "enroll/provision.h"

struct document_change {
	bool bump;		   /* the next sequence number */
	const struct id *bad_node; /* to be listed; NULL: none */
};

/* The changed document, signed by `signer`. -EEXIST the node is listed already, -E2BIG, -EBADMSG, -ENOMEM. */
int document_change(const struct overlay_config *config, const struct document_change *change, const struct credential *signer,
		    struct writer *w, char reason[static PROVISION_REASON_SIZE]);

/* Changes and signs DIRECTORY/overlay.xml. *ret_sequence: the new number. */
int edit_overlay(const char *directory, const struct document_change *change, uint16_t *ret_sequence,
		 char reason[static PROVISION_REASON_SIZE]);

/* Signs `path`, a copy of overlay.xml changed by hand, and makes it DIRECTORY/overlay.xml. It must have a newer sequence number. */
int edit_sign(const char *directory, const char *path, uint16_t *ret_sequence, char reason[static PROVISION_REASON_SIZE]);

/* Makes DIRECTORY/overlay.xml what the server hands out. It must succeed what is handed out now. */
int edit_publish(const char *directory, uint16_t *ret_sequence, char reason[static PROVISION_REASON_SIZE]);

/* Replaces `path` as a whole, keeping the owner of the directory it is in. */
int edit_write_file(const char *path, struct octets content, mode_t mode);
