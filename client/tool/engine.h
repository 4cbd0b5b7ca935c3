/*
 * engine.h: many games on a few connections.  A task is a game that is
 * played or checked: it says its next call, gets the answer, and so on until
 * it is done.  The engine spreads the calls of hundreds of tasks over the
 * connections.
 */
#ifndef GAMESTATE_CLIENT_ENGINE_H
#define GAMESTATE_CLIENT_ENGINE_H

#include "gamestate.h"

#include "hist.h"

typedef struct Task Task;

typedef enum TaskOutcome
{
	TASK_GOES_ON,
	TASK_DONE,
	TASK_FAILED /* after a message */
} TaskOutcome;

/*
 * `next` fills in the call that the task wants to make now; what it names must
 * stay until it has returned to the engine, which sends it at once.  It may be asked
 * again for the same call when that could not be carried out for the moment.
 * `answer` gets the result, or an error of the server: only
 * GS006 (out of game memory) is dealt with by the engine, which waits for
 * the archiver and tries again.
 */
typedef struct TaskOps
{
	void (*next)(Task *task, gamestate_call *call);
	TaskOutcome (*answer)(Task *task, gamestate_result *result);
	void (*free)(Task *task);
} TaskOps;

/* The first member of every kind of task; all but ops is the engine's. */
struct Task
{
	const TaskOps *ops;
	struct Engine *engine;
	Task *queue_next;
	const char *call_name; /* of the call in flight */
	bool is_move;		   /* is it apply_move? */
	uint64_t sent_at;
	uint64_t ready_at; /* not to be asked before */
};

/* Where tasks come from: NULL = there are no more. */
typedef struct TaskSource
{
	Task *(*open)(struct TaskSource *source);
	/* How far the work is: tasks done, and the part of the whole (0 to 1). */
	uint64_t (*done)(const struct TaskSource *source);
	double (*part)(const struct TaskSource *source);
} TaskSource;

typedef struct EngineOptions
{
	const char *conninfo;
	int connections;
	int pipeline; /* calls in flight on a connection */
	int tasks;	  /* open at once */
	int patience; /* seconds without an answer, or memory */
} EngineOptions;

typedef struct EngineStats
{
	Hist *move_latency;	   /* of apply_move, from sent to answered */
	uint64_t moves;		   /* apply_move calls that succeeded */
	uint64_t calls;		   /* calls of any kind that were answered */
	uint64_t memory_waits; /* answers GS006 */
	uint64_t elapsed_ns;
} EngineStats;

typedef struct Engine Engine;

extern Engine *engine_open(const EngineOptions *options);
extern void engine_close(Engine *engine);

/* Run all tasks of a source; false after a message, or when interrupted. */
extern bool engine_run(Engine *engine, TaskSource *source, EngineStats *stats);

#endif /* GAMESTATE_CLIENT_ENGINE_H */
