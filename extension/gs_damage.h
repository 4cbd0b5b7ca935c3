/*-------------------------------------------------------------------------
 *
 * gs_damage.h
 *	  Damage in the journal: saying so, and keeping the bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_DAMAGE_H
#define GS_DAMAGE_H

#include "gs_scan.h"

/* Bytes of one damaged row or page, to be kept. */
typedef struct GsDamage
{
	struct GsDamage *next;
	const char *journal; /* name of the table */
	Oid file;			 /* its file: another one after a rotation */
	BlockNumber block;
	OffsetNumber item; /* InvalidOffsetNumber: the whole page */
	const char *what;
	const char *bytes;
	Size len;
} GsDamage;

/* Damages of one load; what is beyond the limit stands in the server's log only. */
typedef struct GsDamageList
{
	MemoryContext context; /* of what is in the list */
	GsDamage *first;
	int n;
	bool more; /* there were more than fit */
} GsDamageList;

#define GS_DAMAGE_MAX 1000

extern void gs_damage_report(Relation rel, const GsScanDamage *damage);
extern void gs_damage_add(GsDamageList *list, Relation rel, const GsScanDamage *damage);

/* Insert into gamestate.journal_damage what is not there yet; returns how many. */
extern int gs_damage_insert(const GsDamageList *list);

#endif /* GS_DAMAGE_H */
