/*-------------------------------------------------------------------------
 *
 * gs_cold_fdw.c
 *	  Frozen partitions as foreign tables: what the executor needs to read them.
 *
 * Not file_fdw: that reads a whole file for one game, through a program that only
 * a superuser may name, and knows no checksum.
 *
 * The model:
 *	1. Planning reads the trailer of the file for the number of rows, nothing else.
 *	   A file that cannot be read is no error yet: perhaps nobody reads it.
 *	2. Conditions that compare game_id or ended_at with something that is known when
 *	   the scan begins are evaluated then, and blocks that cannot have such rows
 *	   are left out.  For all others, and again for these, the executor
 *	   tests each row.
 *	3. A scan goes through the blocks in their order, one in memory at a time.
 *	4. Rows have no versions: a partition is frozen when everybody sees all of its rows
 *	   (gs_freeze.c).  Nothing can be written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "gs_cold.h"
#include "gs_compat.h"
#include "gs_config.h"

#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "commands/defrem.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* A condition that leaves out blocks: "column op value". */
typedef enum ColdOperator
{
	COLD_ID_EQUALS,
	COLD_FROM, /* ended_at > or >= */
	COLD_TO,   /* ended_at < or <= */
	COLD_AT
} ColdOperator;

typedef struct ColdScan
{
	const char *name;
	bool is_open;
	bool done; /* nothing can be found: a condition is NULL, or the file is damaged */
	GsColdFile file;
	GsColdRows *rows;
	List *operators; /* of ColdOperator, as integers */
	List *values;	 /* ExprStates */
	bool evaluated;

	/* what is looked for */
	bool has_id;
	pg_uuid_t id;
	TimestampTz from;
	TimestampTz to;

	/* where the scan is */
	int block; /* the next one */
	int blocks_read;
	const char *p; /* in the rows of the one before */
	const char *end;
	MemoryContext scan_context;	 /* as long as the scan */
	MemoryContext block_context; /* one block */
} ColdScan;

/* What planning finds out. */
typedef struct ColdPlan
{
	double rows;
	double blocks;
	Selectivity selectivity; /* of the conditions that leave out blocks */
} ColdPlan;

PG_FUNCTION_INFO_V1(gs_cold_handler);
PG_FUNCTION_INFO_V1(gs_cold_validator);

/* ----------------------------------------------------------------
 *		Options
 * ----------------------------------------------------------------
 */

Datum
gs_cold_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
	bool has_file = false;
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		if (catalog != ForeignTableRelationId || strcmp(option->defname, "file") != 0)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
							errmsg("invalid option \"%s\"", option->defname)));
		if (!gs_cold_name_is_valid(defGetString(option)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid name of a cold file: \"%s\"", defGetString(option)),
					 errdetail("It may have letters, digits, \"-\", \"_\" and \".\" only.")));
		has_file = true;
	}
	if (catalog == ForeignTableRelationId && !has_file)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("option \"file\" is required")));
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------
 *		Conditions
 * ----------------------------------------------------------------
 */

static bool
is_column(Node *node, Index relid, Oid table, const char *name)
{
	Var *var = (Var *) node;
	char *attname;

	if (!IsA(node, Var) || var->varno != (int) relid || var->varattno <= 0 ||
		var->varlevelsup != 0)
		return false;
	attname = get_attname(table, var->varattno, true);
	return attname != NULL && strcmp(attname, name) == 0;
}

/* Of this condition, what can leave out blocks?  Sets *value. */
static bool
match_clause(Expr *clause, Index relid, Oid table, ColdOperator *op, Expr **value)
{
	OpExpr *expr = (OpExpr *) clause;
	Node *left;
	Node *right;
	Oid opno;

	if (!IsA(clause, OpExpr) || list_length(expr->args) != 2)
		return false;
	left = linitial(expr->args);
	right = lsecond(expr->args);
	opno = expr->opno;
	if (!is_column(left, relid, table, "game_id") &&
		!is_column(left, relid, table, "ended_at"))
	{
		Node *swap = left;

		opno = get_commutator(opno);
		left = right;
		right = swap;
		if (!OidIsValid(opno) || (!is_column(left, relid, table, "game_id") &&
								  !is_column(left, relid, table, "ended_at")))
			return false;
	}
	if (bms_is_member((int) relid, pull_varnos(NULL, right)) ||
		contain_volatile_functions(right))
		return false;
	*value = (Expr *) right;
	switch (get_opcode(opno))
	{
		case F_UUID_EQ:
			*op = COLD_ID_EQUALS;
			return is_column(left, relid, table, "game_id");
		case F_TIMESTAMPTZ_EQ:
			*op = COLD_AT;
			break;
		case F_TIMESTAMPTZ_GT:
		case F_TIMESTAMPTZ_GE:
			*op = COLD_FROM;
			break;
		case F_TIMESTAMPTZ_LT:
		case F_TIMESTAMPTZ_LE:
			*op = COLD_TO;
			break;
		default:
			return false;
	}
	return is_column(left, relid, table, "ended_at");
}

/* ----------------------------------------------------------------
 *		Planning
 * ----------------------------------------------------------------
 */

static void
get_rel_size(PlannerInfo *root, RelOptInfo *baserel, Oid table)
{
	ColdPlan *plan = palloc0(sizeof(ColdPlan));
	const char *name = gs_cold_file_of(table);
	GsColdTrailer trailer = {0};
	uint64 size = 0;

	if (gs_cold_directory != NULL && gs_cold_directory[0] != '\0' &&
		gs_cold_read_trailer(name, &trailer, &size) == NULL)
	{
		plan->rows = (double) trailer.rows;
		plan->blocks = 1 + (double) trailer.raw_bytes / (64 * 1024);
		baserel->pages = (BlockNumber) Min(size / BLCKSZ + 1, MaxBlockNumber);
	}
	baserel->tuples = plan->rows;
	baserel->fdw_private = plan;
	set_baserel_size_estimates(root, baserel);
}

static List *
block_clauses(RelOptInfo *baserel, Oid table, List *clauses, List **operators,
			  List **values)
{
	List *found = NIL;
	ListCell *cell;

	foreach (cell, clauses)
	{
		Node *node = lfirst(cell);
		Expr *clause =
			IsA(node, RestrictInfo) ? ((RestrictInfo *) node)->clause : (Expr *) node;
		ColdOperator op;
		Expr *value;

		if (!match_clause(clause, baserel->relid, table, &op, &value))
			continue;
		found = lappend(found, node);
		if (operators)
			*operators = lappend_int(*operators, op);
		if (values)
			*values = lappend(*values, value);
	}
	return found;
}

static void
get_paths(PlannerInfo *root, RelOptInfo *baserel, Oid table)
{
	ColdPlan *plan = baserel->fdw_private;
	List *clauses = block_clauses(baserel, table, baserel->baserestrictinfo, NULL, NULL);
	Selectivity share = clauselist_selectivity(root, clauses, 0, JOIN_INNER, NULL);
	double blocks = Max(1, plan->blocks * share);
	Cost startup = seq_page_cost + baserel->baserestrictcost.startup;
	Cost total;

	/* decompressing costs about as much as some tuples */
	total = startup + blocks * (8 * seq_page_cost + 100 * cpu_tuple_cost) +
			plan->rows / Max(1, plan->blocks) * blocks *
				(cpu_tuple_cost + baserel->baserestrictcost.per_tuple);
	add_path(baserel, (Path *) GsCreateForeignScanPath(root, baserel, baserel->rows,
													   startup, total));
}

static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *baserel, Oid table, ForeignPath *path,
		 List *targets, List *clauses, Plan *outer)
{
	List *operators = NIL;
	List *values = NIL;

	(void) block_clauses(baserel, table, clauses, &operators, &values);
	clauses = extract_actual_clauses(clauses, false);
	return make_foreignscan(targets, clauses, baserel->relid, values,
							list_make1(operators), NIL, NIL, outer);
}

/* ----------------------------------------------------------------
 *		Execution
 * ----------------------------------------------------------------
 */

static void
begin_scan(ForeignScanState *node, int flags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	ColdScan *scan = palloc0(sizeof(ColdScan));

	node->fdw_state = scan;
	scan->name = gs_cold_file_of(RelationGetRelid(node->ss.ss_currentRelation));
	scan->operators = linitial(plan->fdw_private);
	scan->values = ExecInitExprList(plan->fdw_exprs, (PlanState *) node);
	scan->scan_context = CurrentMemoryContext;
	scan->block_context =
		AllocSetContextCreate(CurrentMemoryContext, "gamestate cold block",
							  ALLOCSET_DEFAULT_SIZES);
}

/* What the conditions say now. */
static void
evaluate(ForeignScanState *node, ColdScan *scan)
{
	ExprContext *context = node->ss.ps.ps_ExprContext;
	ListCell *value;
	ListCell *op;

	scan->has_id = false;
	scan->from = DT_NOBEGIN;
	scan->to = DT_NOEND;
	forboth (value, scan->values, op, scan->operators)
	{
		bool null;
		Datum datum = ExecEvalExprSwitchContext(lfirst(value), context, &null);

		if (null)
		{
			scan->done = true; /* no row passes */
			return;
		}
		switch ((ColdOperator) lfirst_int(op))
		{
			case COLD_ID_EQUALS:
				scan->has_id = true;
				scan->id = *DatumGetUUIDP(datum);
				break;
			case COLD_AT:
				scan->from = Max(scan->from, DatumGetTimestampTz(datum));
				scan->to = Min(scan->to, DatumGetTimestampTz(datum));
				break;
			case COLD_FROM:
				scan->from = Max(scan->from, DatumGetTimestampTz(datum));
				break;
			case COLD_TO:
				scan->to = Min(scan->to, DatumGetTimestampTz(datum));
				break;
		}
	}
	scan->evaluated = true;
}

static void
damaged(ForeignScanState *node, ColdScan *scan, const char *what)
{
	gs_cold_damaged(RelationGetRelid(node->ss.ss_currentRelation), scan->name, what);
}

static void
open_scan(ForeignScanState *node, ColdScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->scan_context);
	const char *error = gs_cold_open(scan->name, &scan->file);

	if (error != NULL)
	{
		scan->done = true;
		damaged(node, scan, error);
	}
	else
	{
		scan->is_open = true;
		scan->rows = gs_cold_rows_to_read(RelationGetDescr(node->ss.ss_currentRelation),
										  &scan->file);
	}
	MemoryContextSwitchTo(old);
}

static bool
may_have_rows(const ColdScan *scan, const GsColdBlock *block)
{
	if (scan->has_id && (memcmp(scan->id.data, block->first, UUID_LEN) < 0 ||
						 memcmp(scan->id.data, block->last, UUID_LEN) > 0))
		return false;
	return block->latest >= scan->from && block->earliest <= scan->to;
}

/* false at the end */
static bool
next_block(ForeignScanState *node, ColdScan *scan)
{
	while (scan->block < scan->file.nblocks)
	{
		const GsColdBlock *block = &scan->file.blocks[scan->block];
		MemoryContext old;
		const char *error;
		char *rows;

		CHECK_FOR_INTERRUPTS();
		if (scan->has_id && memcmp(scan->id.data, block->first, UUID_LEN) < 0)
			return false;
		if (!may_have_rows(scan, block))
		{
			scan->block++;
			continue;
		}
		MemoryContextReset(scan->block_context);
		old = MemoryContextSwitchTo(scan->block_context);
		error = gs_cold_read_block(&scan->file, scan->block++, &rows);
		MemoryContextSwitchTo(old);
		scan->blocks_read++;
		if (error != NULL)
		{
			damaged(node, scan, error);
			continue;
		}
		scan->p = rows;
		scan->end = rows + block->raw_len;
		return true;
	}
	return false;
}

static void
start(ForeignScanState *node, ColdScan *scan)
{
	if (!scan->evaluated && !scan->done)
		evaluate(node, scan);
	if (scan->done || scan->is_open)
		return;
	open_scan(node, scan);
	if (scan->is_open && scan->has_id)
	{
		int first = gs_cold_find_block(&scan->file, &scan->id);

		scan->block = first < 0 ? scan->file.nblocks : first;
	}
}

static TupleTableSlot *
iterate(ForeignScanState *node)
{
	ColdScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	MemoryContext row_context = node->ss.ps.ps_ExprContext->ecxt_per_tuple_memory;

	ExecClearTuple(slot);
	start(node, scan);
	while (!scan->done)
	{
		GsColdRow row;
		const char *error;
		MemoryContext old;

		if (scan->p >= scan->end && !next_block(node, scan))
		{
			scan->done = true;
			break;
		}
		error = gs_cold_get_row(&scan->p, scan->end, &row);
		if (error == NULL)
		{
			if (scan->has_id && memcmp(row.game_id, scan->id.data, UUID_LEN) != 0)
				continue;
			if (row.ended_at < scan->from || row.ended_at > scan->to)
				continue;
			old = MemoryContextSwitchTo(row_context);
			error = gs_cold_decode(scan->rows, &row, slot->tts_values, slot->tts_isnull);
			MemoryContextSwitchTo(old);
		}
		if (error == NULL)
			return ExecStoreVirtualTuple(slot);
		scan->p = scan->end; /* the rest of the block is not to be trusted */
		damaged(node, scan, error);
	}
	return slot;
}

static void
rescan(ForeignScanState *node)
{
	ColdScan *scan = node->fdw_state;

	scan->evaluated = false;
	scan->done = false;
	scan->block = 0;
	scan->p = scan->end = NULL;
	MemoryContextReset(scan->block_context);
	evaluate(node, scan);
	if (scan->is_open && scan->has_id)
	{
		int first = gs_cold_find_block(&scan->file, &scan->id);

		scan->block = first < 0 ? scan->file.nblocks : first;
	}
}

static void
end_scan(ForeignScanState *node)
{
	ColdScan *scan = node->fdw_state;

	if (scan != NULL && scan->is_open)
		gs_cold_close(&scan->file);
}

static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	ColdScan *scan = node->fdw_state;

	ExplainPropertyText("File", scan->name, es);
	if (es->analyze)
		ExplainPropertyInteger("Blocks Read", NULL, scan->blocks_read, es);
}

/* Files can be read by anybody who runs our code. */
static bool
is_parallel_safe(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte)
{
	return true;
}

Datum
gs_cold_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = get_rel_size;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = iterate;
	routine->ReScanForeignScan = rescan;
	routine->EndForeignScan = end_scan;
	routine->ExplainForeignScan = explain_scan;
	routine->IsForeignScanParallelSafe = is_parallel_safe;
	PG_RETURN_POINTER(routine);
}
