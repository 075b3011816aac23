/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bounds on everything strangers can make us hold, and what happens at the bound. Bounds of one module's own structures stand in
 * its header; those that several modules share, or that an operator may want to know, stand here.
 */
#pragma once

enum {
	LIMIT_TRANSACTIONS = 4096,          /* own requests waiting for an answer; more: -ENOBUFS to the caller */
	LIMIT_ANSWERS_REMEMBERED = 8192,    /* answers kept for retransmitted requests; the oldest goes */
	LIMIT_ANSWER_OCTETS = 8 << 20,      /* octets of those answers; the oldest go */
	LIMIT_REQUESTS_OPEN = 4096,         /* requests whose handler has not answered; more are dropped */
	LIMIT_REASSEMBLY_SETS = 256,        /* fragment sets being put together; a new one displaces the oldest */
	LIMIT_REASSEMBLY_OCTETS = 4 << 20,  /* octets held in them */
	LIMIT_REASSEMBLY_PER_LINK = 32,     /* sets begun over one link; more are dropped */
	LIMIT_DESTINATIONS = 64,            /* entries of a destination list we look at; longer lists are dropped */
	LIMIT_ERRORS_PER_SECOND = 100,      /* error responses made for messages in transit; more are only counted */
	LIMIT_ATTACHES_OPEN = 512,          /* Attach requests being worked on, ours and others'; more: Error_In_Progress */
	LIMIT_HANDSHAKES_OPEN = 256,        /* DTLS handshakes not finished, after their cookie; more are not started */
	LIMIT_HANDSHAKE_SECONDS = 10,       /* then it is given up */
	LIMIT_LINK_QUEUE = 256,             /* messages waiting for the congestion window of one link; more are dropped */
	LIMIT_CONTROL_CLIENTS = 16,         /* connections to the control socket; more are refused */
	LIMIT_CONTROL_LINE = 1 << 20,       /* octets of one control request */
	LIMIT_SIP_TRANSACTIONS = 10000,     /* SIP transactions; more get 503 */
	LIMIT_SIP_TCP_CONNECTIONS = 1024,   /* more are closed at once */
	LIMIT_SIP_MESSAGE = 65535,          /* octets of one SIP message */
	LIMIT_SIP_BINDINGS = 131072,        /* local registrations; more get 503 */
	LIMIT_CANDIDATES = 16,              /* candidates of an Attach that are looked at */
};
