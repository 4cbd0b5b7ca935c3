/*-------------------------------------------------------------------------
 *
 * uuid.c
 *	  Ids: made, read, written.
 *
 *-------------------------------------------------------------------------
 */
#include "gamestate.h"

#include <unistd.h>

bool
gamestate_uuid_generate(gamestate_uuid *uuid)
{
	if (getentropy(uuid->bytes, sizeof(uuid->bytes)) != 0)
		return false;
	uuid->bytes[6] = (unsigned char) ((uuid->bytes[6] & 0x0f) | 0x40);
	uuid->bytes[8] = (unsigned char) ((uuid->bytes[8] & 0x3f) | 0x80);
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
gamestate_uuid_parse(const char *text, gamestate_uuid *uuid)
{
	gamestate_uuid parsed;

	for (int i = 0; i < 16; i++)
	{
		int high;
		int low;

		/* 8-4-4-4-12, each hyphen may be left out */
		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text == '-')
			text++;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return false;
		parsed.bytes[i] = (unsigned char) (high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return false;
	*uuid = parsed;
	return true;
}

void
gamestate_uuid_format(const gamestate_uuid *uuid, char text[GAMESTATE_UUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		*text++ = digits[uuid->bytes[i] >> 4];
		*text++ = digits[uuid->bytes[i] & 15];
	}
	*text = '\0';
}
