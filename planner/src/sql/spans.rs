//! Clauses are cut out of a statement's text by their spans: each must be exactly the clause.
use super::ast::*;
use super::parse_alone;
use bumpalo::Bump;

fn query<'a>(sql: &'a str, arena: &'a Bump) -> &'a Query<'a> {
    match parse_alone(sql, arena).unwrap() {
        Statement::Query(query) => query,
        other => panic!("{other:?}"),
    }
}

fn select<'a>(query: &Query<'a>) -> &'a Select<'a> {
    match query.first {
        Body::Select(select) => select,
        other => panic!("{other:?}"),
    }
}

fn cut(sql: &str, span: impl Into<Option<Span>>) -> &str {
    span.into()
        .map_or("-", |span| &sql[span.start as usize..span.end as usize])
}

#[test]
fn every_clause_has_its_span() {
    let sql = "select /* c */ distinct a.x as y, t.* from t partition (p1) as a use index (i) \
        ignore key for join (j) \
               left join u on a.x = u.x where a.x > 1 group by x, y desc with rollup having \
               count(*) > 1 \
               window w as (order by x) order by y desc , 2 asc limit 3, ? for update of a skip \
               locked";
    let arena = Bump::new();
    let query = query(sql, &arena);
    let found = select(query);
    assert_eq!(cut(sql, query.span), sql);
    assert!(found.span.start == 0 && sql[found.span.end as usize..].starts_with(" order by"));
    assert_eq!(cut(sql, found.distinct_span), "distinct");
    assert!(sql[..found.items_end as usize].ends_with("t.*"));
    assert!(
        cut(sql, found.from_span).starts_with("from t part")
            && cut(sql, found.from_span).ends_with("a.x = u.x")
    );
    assert_eq!(cut(sql, found.filter_span), "where a.x > 1");
    assert_eq!(cut(sql, found.group_span), "group by x, y desc with rollup");
    assert_eq!(cut(sql, found.having_span), "having count(*) > 1");
    assert_eq!(cut(sql, found.windows_span), "window w as (order by x)");
    assert_eq!(cut(sql, query.order_span), "order by y desc , 2 asc");
    assert_eq!(
        query.locks.iter().map(|&l| cut(sql, l)).collect::<Vec<_>>(),
        ["for update of a skip locked"]
    );
    let limit = query.limit.unwrap();
    assert_eq!(cut(sql, limit.span), "limit 3, ?");
    assert_eq!(cut(sql, limit.skip.map(|e| e.span)), "3");
    assert!(limit.plain && matches!(limit.take.unwrap().kind, ExprKind::Param(0)));
    let order: Vec<_> = query
        .order
        .iter()
        .map(|o| (cut(sql, o.expr.span), o.descending))
        .collect();
    assert_eq!(order, [("y", true), ("2", false)]);
    assert!(found.group.last().unwrap().descending);
    assert!(matches!(found.items.last().unwrap().expr.kind, ExprKind::Star(Some("t"))));
    let [TableExpr::Join(join)] = found.from else { panic!() };
    assert_eq!(join.kind, JoinKind::Left);
    let TableExpr::Table(table) = join.left else { panic!() };
    assert_eq!(cut(sql, table.span), "t");
    assert_eq!(cut(sql, table.partition), "partition (p1)");
    assert_eq!(cut(sql, table.alias_span), "as a");
    assert_eq!(cut(sql, table.hints), "use index (i) ignore key for join (j)");
    assert!(
        cut(sql, table.full_span).starts_with("t partition")
            && cut(sql, table.full_span).ends_with("(j)")
    );
}

#[test]
fn limits_have_many_forms() {
    for (sql, skip, take, plain) in [
        ("limit 3", "-", "3", true),
        ("limit 3 offset 4", "4", "3", true),
        ("limit 4, 3", "4", "3", true),
        ("limit 3 rows examined 9", "-", "3", false),
        ("offset 2 rows fetch next 5 rows only", "2", "5", true),
        ("fetch first 5 rows only", "-", "5", true),
        ("fetch first row only", "-", "-", false),
        ("offset 2 rows", "2", "-", false),
        ("order by a fetch first 5 rows with ties", "-", "5", false),
    ] {
        let arena = Bump::new();
        let sql = format!("select a from t {sql}");
        let limit = query(&sql, &arena).limit.unwrap();
        assert_eq!(
            (
                cut(&sql, limit.skip.map(|e| e.span)),
                cut(&sql, limit.take.map(|e| e.span)),
                limit.plain
            ),
            (skip, take, plain),
            "{sql}"
        );
        assert!(sql.ends_with(cut(&sql, limit.span)), "{sql}");
    }
}

#[test]
fn calls_and_set_operations_keep_their_words() {
    let arena = Bump::new();
    let sql = "select count(distinct a), group_concat(a order by b separator ','), sum(a), cast(a \
        as char) from t \
               union distinct select 1 intersect all select 2 except select 3 order by 1 into @a";
    let query = query(sql, &arena);
    let calls = select(query).items.iter().map(|i| match i.expr.kind {
        ExprKind::Call(call) => (call.distinct, call.clauses),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        calls.collect::<Vec<_>>(),
        [(true, false), (false, true), (false, false), (false, true)]
    );
    let ops: Vec<_> = query.rest.iter().map(|(op, _)| (op.kind, op.all)).collect();
    assert_eq!(
        ops,
        [(SetKind::Union, false), (SetKind::Intersect, true), (SetKind::Except, false)]
    );
    assert!(query.into && cut(sql, query.into_span) == "into @a");
    // A collation makes another order of it.
    let ordered =
        parse_alone("select a from t order by a collate utf8mb4_bin, binary a, +a", &arena)
            .unwrap();
    let Statement::Query(ordered) = ordered else { panic!() };
    assert!(
        ordered
            .order
            .iter()
            .all(|o| matches!(o.expr.kind, ExprKind::Other(_)))
    );
}
