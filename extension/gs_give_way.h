/*-------------------------------------------------------------------------
 *
 * gs_give_way.h
 *	  Background work that leaves the processors to those who are waited for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef GS_GIVE_WAY_H
#define GS_GIVE_WAY_H

/* This process gives way from now on; without it gs_give_way() does nothing. */
extern void gs_give_way_init(void);

/* Whether it shall just now; the work may be more urgent than what waits for it. */
extern void gs_give_way_allow(bool allow);

/* Between two small pieces of work, with no lock held that anybody waits for. */
extern void gs_give_way(void);

/* For how long it has, in microseconds, since the last call of this. */
extern int64 gs_give_way_taken(void);

#endif /* GS_GIVE_WAY_H */
