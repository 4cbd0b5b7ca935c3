/*-------------------------------------------------------------------------
 *
 * gs_feed_notice.c
 *	  Notices: rows of the change feed that are no new version of their game.
 *
 * The model:
 *	1. Something has happened around a game that is not in its log: a player's
 *	   connection is gone, its lease has ended.  Nobody can read it later, so the
 *	   row says it all; its version is unknown, so that nobody takes it for a
 *	   change that he has seen already.
 *	2. A notice is a group of its own, put in as a commit's rows are
 *	   (gs_feed.c).  It has nothing to wait for, and is told at once, unless
 *	   changes of its game stand in a lane: then it goes behind these.  So of one
 *	   game notices and versions are told in the order in which they were put in,
 *	   and a notice may wait for the disk or the standby that its game waits for;
 *	   who gives it waits for nothing.
 *	3. A change is put in a moment after it is visible (gs_writeset.c).  A notice
 *	   of that moment may come before it, unless its giver holds the game's lock.
 *
 * Notices are not transactional, and a standby does not tell those of its primary.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_feed.h"

#include "utils/timestamp.h"

const char *
gs_feed_notice_name(uint8 kind)
{
	switch (kind)
	{
		case GS_FEED_CONNECTED:
			return "connected";
		case GS_FEED_DISCONNECTED:
			return "disconnected";
		case GS_FEED_ABSENT:
			return "absent";
		case GS_FEED_CLAIMED:
			return "claimed";
		case GS_FEED_RELEASED:
			return "released";
		case GS_FEED_INACTIVE:
			return "inactive";
		case GS_FEED_ORPHANED:
			return "orphaned";
		default:
			return NULL;
	}
}

/* As a change of one entry, whose version is 0. */
void
gs_feed_notice(Oid dboid, const pg_uuid_t *game_id, const GsText *game_type, uint8 kind,
			   const GsText *player, const GsText *event)
{
	GsNewEntry entry = {.e = {.kind = (GsKind) kind, .at = GetCurrentTimestamp()}};
	GsNewEntry *entries[1] = {&entry};
	GsChange change = {.kind = GS_CHANGE_UPDATE,
					   .key = {.dboid = dboid, .id = *game_id},
					   .base_version = -1,
					   .nentries = 1,
					   .entry_array = entries};

	if (player)
	{
		entry.e.player = player->data;
		entry.e.player_len = player->len;
	}
	if (event)
	{
		entry.e.event = event->data;
		entry.e.event_len = event->len;
	}
	change.feed.applied = true;
	change.feed.type_len = Min(game_type->len, GS_MAX_ID_LENGTH);
	memcpy(change.feed.type, game_type->data, change.feed.type_len);
	gs_feed_add(&change);
	gs_feed_append();
}
