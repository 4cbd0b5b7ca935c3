/*
 * manifest.h: the last line of an exported file, and whether what stands
 * before it is what it says.
 */
#ifndef GAMESTATE_CLIENT_MANIFEST_H
#define GAMESTATE_CLIENT_MANIFEST_H

#include "stream.h"

/*
 * The lines between two manifests, or before the first: files that were
 * exported one by one may be joined.
 */
typedef struct ManifestCheck
{
	const char *file; /* for messages */
	uint64_t line;	  /* number of the last one, from 1 */
	uint64_t games;	  /* since the last manifest */
	uint64_t bytes;
	uint64_t all_games;
	uint64_t manifests;
} ManifestCheck;

typedef enum ManifestOutcome
{
	MANIFEST_GAME,	/* the line is a game, or wants to be one */
	MANIFEST_BLANK, /* nothing stands in it */
	MANIFEST_OK,	/* it is a manifest, and right */
	MANIFEST_WRONG	/* after a message */
} ManifestOutcome;

/* Takes the next line into account. */
extern ManifestOutcome manifest_take(ManifestCheck *check, LineReader *reader,
									 const Buf *line);

/* Reads a whole file; false after a message if it is not what it says. */
extern bool manifest_check_file(const char *path, ManifestCheck *check);

/* At the end: is there a manifest for all of it? */
extern bool manifest_is_complete(const ManifestCheck *check);

#endif /* GAMESTATE_CLIENT_MANIFEST_H */
