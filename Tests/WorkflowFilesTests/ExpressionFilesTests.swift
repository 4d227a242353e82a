import Testing
import WorkflowFiles

/// Expressions in files: the slips that come of YAML, and what jq refuses. The filter stands in line 4.
struct ExpressionFilesTests {
    private static let colon =
        "an unquoted expression with a colon and a space, which YAML reads as a key; expected the whole text in quotes"
    private static let comment =
        "an unquoted expression with a space and '#', which YAML reads as a comment; expected the whole text in quotes"

    @Test(arguments: [
        ("${ {a: .payload.x} == {a: 1} }", "9: error: \(colon); write \"${ {a: .payload.x} == {a: 1} }\""),
        (
            "${ if .payload.a then {\"b\": 1} else null end }",
            "9: error: \(colon); write '${ if .payload.a then {\"b\": 1} else null end }'"
        ),
        ("${ .payload.x # or y }", "9: error: \(comment); quote the whole text: '… ${ … } …'"),
        ("${ .payload.x == 1 #}", "9: error: \(comment); quote the whole text: '… ${ … } …'"),
        (
            "\"${ .payload.kind == \"a\" }\"",
            "10: error: an expression with \" inside a text in \" quotes; expected single quotes around it; write '${ … }', or \\\" inside"
        ),
        ("${ .payload.total > 0", "9: error: '${' is not closed by a '}'"),
        ("${ .payload.total > (0 }", "9: error: found '}'; expected ')'".replacing("9:", with: "32:")),
        ("${ }", "12: error: the expression is empty"),
        (
            ".payload.total > 0",
            "9: error: '.payload.total > 0' stands for filter; expected one expression and nothing around it: ${ … }; write ${ .payload.total > 0 }"
        ),
        (
            "not ${ .payload.a }",
            "9: error: 'not ${ .payload.a }' stands for filter; expected one expression and nothing around it: ${ … }"
        ),
        (
            "$${ .payload.a }",
            "9: error: '$${ .payload.a }' stands for filter; expected one expression and nothing around it: ${ … }; write ${ .payload.a }"
        ),
        (
            "always",
            "9: error: 'always' stands for filter; expected one expression and nothing around it: ${ … }"
        ),
        ("true", "9: error: true stands for filter; expected an expression: ${ … }"),
        ("[ a ]", "9: error: a list stands for filter; expected an expression: ${ … }"),
    ])
    func slipsAreNamed(filter: String, message: String) async {
        #expect(
            await Workflows(Workflows.subscription("filter: \(filter)")).check().messages == ["a.yaml:4:\(message)"])
    }

    @Test(arguments: [
        ("deliver: { http: POST ${ $env.SHOP }/mail }", 23, "POST ${ $env.SHOP }/mail"),
        ("deliver: { http: POST ${ $env.A }/${ $env.B }, endpoint: x }", 23, "POST ${ $env.A }/${ $env.B }"),
        ("topics: [ ${ .a }, b ]", 11, "${ .a }"),
    ])
    func unquotedInsideBracketsSaysWhatToWrite(line: String, column: Int, quoted: String) async {
        #expect(
            await Workflows("subscription: a\n\(line)").check().messages.contains(
                "a.yaml:2:\(column): error: an unquoted expression inside [ … ] or { … }; expected the whole text in quotes; write \"\(quoted)\""
            ))
    }

    @Test func anExpressionWithAColonInAListIsOneError() async {
        let text = "subscription: a\ntopics:\n  - ${ {a: .payload.x} }\ndeliver: { http: POST https://a.example }"
        #expect(
            await Workflows(text).check().messages
                == ["a.yaml:3:5: error: \(Self.colon); write \"${ {a: .payload.x} }\""])
    }

    /// Wherever the style of a text puts it.
    @Test(arguments: [
        ("|\n  ${ .payload.a\n    and .total }", 6, 9),
        ("| # in two lines\n\n  ${ .payload.a and # ä\n  .total }", 7, 3),
        (">-\n  ${ .payload.a\n\n  and .total }", 7, 7),
        ("${ .payload.a and\n  .total }", 5, 3),
        ("'${ .payload.a == \"''\" and .total }'", 4, 36),
        ("'${ .payload.a ==\n\n  \"''\" and\t.total }'", 6, 12),
        ("\"${ .payload.a == \\\"ä\\u00e4\\x41\\U0001F600\\\" \\\n  and\\n .total }\"", 5, 9),
    ])
    func placesInsideATextAreExact(filter: String, line: Int, column: Int) async {
        let outcome = await Workflows(Workflows.subscription("filter: \(filter)")).check()
        #expect(
            outcome.messages.map { $0.prefix { $0 != "'" } } == ["a.yaml:\(line):\(column): error: a filter sees no "])
    }

    @Test func placesInTextsOfJSONAreExact() async {
        let outcome = await Workflows(
            #"""
            {"subscription": "s", "topics": ["a"], "deliver": {"http": "POST https://a.example"},
             "filter": "${ .payload.a == \"\ud83d\ude00/\" and\n.total }"}
            """#, file: "a.json"
        ).check()
        #expect(outcome.messages.map { $0.prefix { $0 != "'" } } == ["a.json:2:53: error: a filter sees no "])
    }

    @Test func aCommentThatSpeaksOfExpressionsIsNoSlip() async {
        #expect(
            await Workflows("# write ${ before it\ntopic: a: b").check().messages == [
                "a.yaml:2:9: error: a colon where no key can stand; expected the keys of one mapping indented alike; quote a text that holds a colon and a space"
            ])
    }

    @Test(arguments: [
        (".payload.a | input", 25, "'input' is not available in expressions; an expression sees one input, '.'"),
        (
            "env.HOME == \"x\"", 12,
            "'env' is not available in expressions; use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV"
        ),
        (
            "$ENV.HOME", 12,
            "'$ENV' is not available in expressions; use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV"
        ),
        (".payload | debug", 23, "'debug' is not available in expressions; an expression has no output but its value"),
        ("halt", 12, "'halt' is not available in expressions; use error(…) to fail"),
        ("input_filename", 12, "'input_filename' is not available in expressions; an expression sees one input, '.'"),
        (
            "$__loc__", 12,
            "'$__loc__' is not available in expressions; an expression has no place that its value could depend on"
        ),
        ("import \"m\" as m; .", 12, "'import' is not available in expressions; an expression cannot read modules"),
    ])
    func whatReachesOutIsRefused(source: String, column: Int, message: String) async {
        #expect(
            await Workflows(Workflows.subscription("filter: ${ \(source) }")).check().messages
                == ["a.yaml:4:\(column): error: \(message)"])
    }

    @Test(arguments: [
        (".payload.total >> 0", "syntax error, unexpected '>'"), (".payload | foo", "foo/0 is not defined"),
        ("$x == 1", "$x is not defined"),
        (".payload.a &&", "syntax error, unexpected INVALID_CHARACTER, expecting $end"),
    ])
    func jqHasTheLastWord(source: String, message: String) async {
        #expect(
            await Workflows(Workflows.subscription("filter: ${ \(source) }")).check().messages
                == ["a.yaml:4:12: error: the expression '\(source)' is not valid jq: \(message)"])
    }

    @Test(arguments: [
        (".total > 0", 12, "total", "write .payload.total"),
        (".paylod.total", 12, "paylod", "did you mean '.payload'?"),
        (".payload.a and (.b or .topic == \"x\")", 28, "b", "write .payload.b"),
        ("if .header then true else false end", 15, "header", "did you mean '.headers'?"),
    ])
    func aFilterSeesOnlyTheMessage(source: String, column: Int, name: String, hint: String) async {
        #expect(
            await Workflows(Workflows.subscription("filter: ${ \(source) }")).check().messages
                == [
                    "a.yaml:4:\(column): error: a filter sees no '.\(name)'; expected one of .payload, .topic, .key, .headers; \(hint)"
                ])
    }

    @Test func placesCountCharactersAndFollowQuotes() async {
        #expect(
            await Workflows(Workflows.subscription("filter: '${ \"ä€😀\" | input }'")).check().messages
                == ["a.yaml:4:21: error: 'input' is not available in expressions; an expression sees one input, '.'"])
    }
}
