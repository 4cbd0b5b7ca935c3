/*-------------------------------------------------------------------------
 *
 * gs_feed_filter.c
 *	  Which rows of the change feed somebody wants.
 *
 * A filter is local memory; the rows lie in the ring and may be overwritten while
 * they are looked at (gs_feed.c): then the answer is wrong, and nobody uses it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_feed.h"

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

void
gs_feed_filter_sort(GsFeedFilter *filter)
{
	qsort(filter->ids, filter->nids, sizeof(pg_uuid_t), compare_ids);
}

static bool
is_of_types(const GsFeedFilter *filter, const GsFeedRow *row)
{
	for (int i = 0; i < filter->ntypes; i++)
	{
		const GsFeedType *type = &filter->types[i];

		if (row->type_hash == type->hash && row->type_len == type->name.len &&
			memcmp(row->data, type->name.data, type->name.len) == 0)
			return true;
	}
	return false;
}

bool
gs_feed_passes(const GsFeedFilter *filter, const GsFeedRow *row)
{
	bool is_of_type;

	if (row->kind == GS_FEED_GAP)
		return row->dboid == InvalidOid || row->dboid == filter->dboid;
	if (row->dboid != filter->dboid)
		return false;
	is_of_type = filter->ntypes == 0 || is_of_types(filter, row);
	if (is_of_type == filter->either)
		return is_of_type;
	return filter->nids < 0 || bsearch(&row->game_id, filter->ids, filter->nids, UUID_LEN,
									   compare_ids) != NULL;
}
