import Testing
import WorkflowFiles

/// Calls of the database. The call's options begin at line 7.
struct SQLCallTests {
    @Test(arguments: [
        (
            """
            sql: select f($1)
            args: [ 1 ]
            """,
            ""
        ),
        (
            """
            sql: select f($2, $1)
            args: [ 1, "${ .input.x }" ]
            """,
            ""
        ),
        (
            "sql: select f($1)",
            "7:10: error: 0 arguments for a statement with parameters up to $1; expected as many args as parameters"
        ),
        (
            """
            sql: select f($2)
            args: [ 1 ]
            """,
            "8:11: error: 1 argument for a statement with parameters up to $2; expected as many args as parameters"
        ),
        (
            """
            sql: select f()
            args: [ 1, 2 ]
            """,
            "8:11: error: 2 arguments for a statement with no parameters; expected as many args as parameters"
        ),
        (
            """
            sql: select f($1)
            args: 1
            """,
            "8:11: error: the number 1 stands for args; expected a list; write [ 1 ]"
        ),
        (
            """
            sql: select f($1)
            args: [ "${ .inputs }" ]
            """,
            "8:17: error: a step sees no '.inputs'; expected one of .input, .steps, .saga; did you mean '.input'?"
        ),
    ])
    func argumentsFitTheStatement(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            "sql: select f(${ .input.id })",
            #"7:10: error: an expression stands in the text of sql; expected $1, $2, … for values; use args: sql: select f($1), args: [ "${ .input.id }" ]"#
        ),
        (
            "sql: select 1; select 2",
            "7:20: error: a second statement stands in sql; expected one statement in each step"
        ),
        ("sql: select 1; -- that is all", ""),
        ("sql: ;", "7:10: error: no statement stands in sql; expected one statement"),
        (#"sql: """#, "7:11: error: no statement stands in sql; expected one statement"),
        ("sql: '-- only a comment'", "7:11: error: no statement stands in sql; expected one statement"),
        ("sql: select 'a", "7:17: error: a text in quotes is not closed in sql; expected a closing quote"),
        ("sql: select $x$ a", "7:17: error: a text between dollar signs is not closed in sql; expected $x$"),
        ("sql: select /* a /* */", "7:17: error: a comment is not closed in sql; expected */"),
        ("sql: select $0", "7:17: error: the parameter $0; expected $1, $2, …"),
        ("sql: select $99999999999", "7:17: error: the parameter $99999999999; expected $1, $2, …"),
        ("sql: [ 1 ]", "7:10: error: a list stands for sql; expected a text"),
    ])
    func sqlIsOneStatementWithoutExpressions(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            sql: |
              select 'a;b $9', $$;$1$$, $x$ $2 ; $$ $x$, "a;$3", e'\\';$4', u&'x', a$5b /* ; $6 /* */ ; */ -- $7 ;
                , $1
            args: [ 1 ]
            """,
            ""
        )
    ])
    func parametersAreToldFromText(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    private static func call(_ lines: String) -> Workflows {
        let indented = lines.split(separator: "\n").map { "    \($0)\n" }.joined()
        return Workflows([
            "a.yaml": Workflows.saga("- id: a\n  compensate: none\n  call:\n\(indented)"),
            "b.yaml": Workflows.endpoint(),
        ])
    }
}
