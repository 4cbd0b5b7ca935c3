/*-------------------------------------------------------------------------
 *
 * gs_damage.c
 *	  Damage in the journal: saying so, and keeping the bytes.
 *
 * The model:
 *	1. Whoever loads the games reports damage at once, as a WARNING, and counts
 *	   it.  He cannot keep the bytes: he may be anybody, in a transaction that is
 *	   read-only or will be rolled back.
 *	2. So the archiver reads the journal once more afterwards, before a rotation
 *	   can empty it, collects what is damaged, and inserts it here into an ordinary
 *	   table, as the role that owns it.  Damage is rare; no bytes of it need a
 *	   place in shared memory.
 *	3. The same damage is found at each load until a rotation has emptied the
 *	   table.  It is kept once: file, place, kind and bytes tell it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_compat.h"
#include "gs_damage.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

void
gs_damage_report(Relation rel, const GsScanDamage *damage)
{
	if (damage->item != InvalidOffsetNumber)
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged row (%u,%u) of journal table \"%s\" is skipped", damage->block,
						damage->item, RelationGetRelationName(rel)),
				 errdetail("%s.", damage->what)));
	else
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("page %u of journal table \"%s\" is damaged", damage->block,
						RelationGetRelationName(rel)),
				 errdetail("%s; %d of its rows could be used, %d could not.", damage->what,
						   damage->rows_used, damage->rows_unused)));
}

void
gs_damage_add(GsDamageList *list, Relation rel, const GsScanDamage *damage)
{
	MemoryContext old;
	GsDamage *kept;
	char *bytes;

	if (list->n >= GS_DAMAGE_MAX)
	{
		list->more = true;
		return;
	}
	old = MemoryContextSwitchTo(list->context);
	kept = palloc(sizeof(GsDamage));
	bytes = palloc(Max(damage->len, 1));
	memcpy(bytes, damage->bytes, damage->len);
	kept->journal = pstrdup(RelationGetRelationName(rel));
	kept->file = GsRelationFile(rel);
	kept->block = damage->block;
	kept->item = damage->item;
	kept->what = damage->what;
	kept->bytes = bytes;
	kept->len = damage->len;
	kept->next = list->first;
	list->first = kept;
	list->n++;
	MemoryContextSwitchTo(old);
}

static Datum
bytea_datum(const char *bytes, Size len)
{
	bytea *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return PointerGetDatum(result);
}

int
gs_damage_insert(const GsDamageList *list)
{
	static const char *const insert =
		"INSERT INTO gamestate.journal_damage (journal, file, block, item, what, bytes)"
		" SELECT $1, $2, $3, $4, $5, $6"
		" WHERE NOT EXISTS (SELECT FROM gamestate.journal_damage"
		" WHERE journal OPERATOR(pg_catalog.=) $1 AND file OPERATOR(pg_catalog.=) $2"
		" AND block OPERATOR(pg_catalog.=) $3 AND item IS NOT DISTINCT FROM $4"
		" AND what OPERATOR(pg_catalog.=) $5 AND bytes OPERATOR(pg_catalog.=) $6)";
	Oid types[] = {NAMEOID, OIDOID, INT8OID, INT4OID, TEXTOID, BYTEAOID};
	int n = 0;

	SPI_connect();
	for (const GsDamage *damage = list->first; damage != NULL; damage = damage->next)
	{
		NameData journal;
		Datum values[lengthof(types)];
		char nulls[lengthof(types)];
		int rc;

		namestrcpy(&journal, damage->journal);
		memset(nulls, ' ', sizeof(nulls));
		values[0] = NameGetDatum(&journal);
		values[1] = ObjectIdGetDatum(damage->file);
		values[2] = Int64GetDatum(damage->block);
		values[3] = Int32GetDatum(damage->item);
		if (damage->item == InvalidOffsetNumber)
			nulls[3] = 'n';
		values[4] = CStringGetTextDatum(damage->what);
		values[5] = bytea_datum(damage->bytes, damage->len);
		rc = SPI_execute_with_args(insert, lengthof(types), types, values, nulls, false,
								   0);
		if (rc != SPI_OK_INSERT)
			elog(ERROR, "could not insert into gamestate.journal_damage: %s",
				 SPI_result_code_string(rc));
		n += SPI_processed;
	}
	SPI_finish();
	return n;
}
