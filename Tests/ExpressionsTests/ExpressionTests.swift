import Expressions
import Primitives
import Testing

@Suite struct ExpressionTests {
    @Test(arguments: [
        ".", ".a", ".a.b", ".a[0]", ".a[-1]", #".["x y"]"#, #".a["x y"].b"#, #"."x""#, ".[0]", "$env.NAME", " .a ",
        "._a1",
    ])
    func plainPathNeedsNoJQ(source: String) throws {
        #expect(try Expression(source).path != nil)
    }

    @Test(arguments: [
        ".a + 1", ".a?", ".a[]", ".a[1:2]", ".a[.b]", "..", "a", ".a | .b", "$env", "$env[0]", "$x.a",
        ".a[99999999999]", #""a""#,
        ".a.[0]x", ".a .b | .", ".a + 9007199254740992", ".a * 1e300", "[.a]", ".[1.5]", #"."\(1)""#,
    ])
    func anythingElseDoes(source: String) throws {
        #expect(try Expression(source).kind == .jq)
    }

    @Test(arguments: [
        ("input", "'input' is not available in expressions; an expression sees one input, '.'", 0),
        (".a | inputs", "'inputs' is not available in expressions; an expression sees one input, '.'", 5),
        (
            "env.PATH",
            "'env' is not available in expressions; use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV", 0
        ),
        (
            "$ENV.PATH",
            "'$ENV' is not available in expressions; use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV", 0
        ),
        ("debug", "'debug' is not available in expressions; an expression has no output but its value", 0),
        (". | debug(\"x\")", "'debug' is not available in expressions; an expression has no output but its value", 4),
        ("stderr", "'stderr' is not available in expressions; an expression has no output but its value", 0),
        ("halt", "'halt' is not available in expressions; use error(…) to fail", 0),
        ("halt_error", "'halt_error' is not available in expressions; use error(…) to fail", 0),
        ("input_filename", "'input_filename' is not available in expressions; an expression sees one input, '.'", 0),
        (
            "$__loc__",
            "'$__loc__' is not available in expressions; an expression has no place that its value could depend on", 0
        ),
        (
            "{$__loc__}",
            "'$__loc__' is not available in expressions; an expression has no place that its value could depend on", 1
        ),
        (#"import "m" as m; m::f"#, "'import' is not available in expressions; an expression cannot read modules", 0),
        (#"include "m"; f"#, "'include' is not available in expressions; an expression cannot read modules", 0),
        ("m::f", "'m::f' names a module; an expression cannot read modules", 0),
        (
            #""\(env)""#,
            "'env' is not available in expressions; use $env.NAME with a variable listed in OUTRIDER_EXPOSE_ENV", 3
        ),
        ("{(input): 1}", "'input' is not available in expressions; an expression sees one input, '.'", 2),
        ("{a: 1, b: input}", "'input' is not available in expressions; an expression sees one input, '.'", 10),
        ("[{a: 1}, input]", "'input' is not available in expressions; an expression sees one input, '.'", 9),
        (
            ".a + 9007199254740993",
            "the integer 9007199254740993 is beyond 2^53, and jq would change it; give it in the input, or in YAML outside of the expression",
            5
        ),
        ("", "the expression is empty", 0),
        ("(.a", "a bracket is not closed", 0),
        ("[.a)", "found ')'; expected ']'", 3),
        (".a]", "']' closes nothing", 2),
        (".a}", "'}' closes nothing", 2),
        (#"."a"#, "a string is not closed", 1),
        (".a\u{0}", "the expression holds a NUL character", 2),
    ])
    func refusedExpressionSaysWhy(source: String, message: String, offset: Int) {
        #expect(throws: ExpressionError.syntax(message: message, offset: offset)) { try Expression(source) }
    }

    @Test(arguments: [
        ".input", ".env.debug", #""input env debug""#, "{input: 1, env: 2, halt: 3}", "{input}", "{a: 1, debug}",
        ". as $input | $input",
        "# input\n.", #".["input"]"#, #"{"env": 1}"#, "@base64", #"@json "x\(.env)""#, "my_input_x",
    ])
    func namesThatCallNothingAreAllowed(source: String) throws {
        _ = try Expression(source)
    }

    @Test func deepBracketsAreRefused() {
        let source = String(repeating: "[", count: 100_000)
        #expect(
            throws: ExpressionError.syntax(message: "the expression has more than 64 levels of brackets", offset: 64)
        ) {
            try Expression(source)
        }
        let strings = String(repeating: #""\("#, count: 100_000)
        #expect(throws: ExpressionError.self) { try Expression(strings) }
    }
}

@Suite struct TemplateTests {
    private func parts(_ source: String) throws -> [String] {
        try Template(source).parts.map { part in
            switch part {
            case .text(let text): "text \(text)"
            case .expression(let expression): "expression \(expression.source)"
            }
        }
    }

    @Test(arguments: [
        ("", []),
        ("plain", ["text plain"]),
        ("${ .a }", ["expression .a"]),
        ("${.a}${.b}", ["expression .a", "expression .b"]),
        ("a ${ .b } c", ["text a ", "expression .b", "text  c"]),
        ("$${ .a }", ["text ${ .a }"]),
        ("$$${ .a }", ["text $${ .a }"]),
        ("cost: $5 {x}", ["text cost: $5 {x}"]),
        ("${ {a: {b: 1}} }", ["expression {a: {b: 1}}"]),
        (#"${ "}" }"#, [#"expression "}""#]),
        (#"${ "\"}" }"#, [#"expression "\"}""#]),
        (#"${ "\({a: "}"})" }!"#, [#"expression "\({a: "}"})""#, "text !"]),
        ("${ .a # }\n }", ["expression .a # }"]),
        ("ä${ .é }ö".replacing("é", with: "e"), ["text ä", "expression .e", "text ö"]),
    ])
    func textIsSplitAtItsExpressions(source: String, expected: [String]) throws {
        #expect(try parts(source) == expected)
    }

    @Test(arguments: [
        ("ab ${ .a", "'${' is not closed by a '}'", 3),
        ("ab ${ }", "the expression is empty", 6),
        ("${ .a ) }", "')' closes nothing", 6),
        ("x ${ .a } ${ input }", "'input' is not available in expressions; an expression sees one input, '.'", 13),
    ])
    func brokenTextSaysWhere(source: String, message: String, offset: Int) {
        #expect(throws: ExpressionError.syntax(message: message, offset: offset)) { try Template(source) }
    }

    @Test func wholeExpressionIgnoresSpaceAround() throws {
        #expect(try Template("  ${ .a }\n").wholeExpression?.source == ".a")
        #expect(try Template("x ${ .a }").wholeExpression == nil)
        #expect(try Template("${ .a }${ .b }").wholeExpression == nil)
        #expect(try Template("text").wholeExpression == nil)
    }

    @Test func plainPathsInATextKeepEveryDigit() throws {
        let template = try Template("order ${ .id }/${ .name }: ${ .tags } ${ $env.REGION }")
        let input = try JSON(parsing: #"{"id":123456789012345678901234567890.50,"name":"ä","tags":[1,"x"]}"#)
        #expect(
            try template.resolve(in: input, environment: ["REGION": "eu"])
                == #"order 123456789012345678901234567890.50/ä: [1,"x"] eu"#)
    }

    @Test func unexposedVariableIsAnError() throws {
        let template = try Template("${ $env.HOME }")
        #expect(throws: ExpressionError.unexposed(variable: "HOME")) { try template.resolve(environment: [:]) }
    }
}

@Suite struct InputMembersTests {
    @Test(arguments: [
        (".a", ["a"]), (".a.b > .c[0].d", ["a", "c"]), ("(.a + (.b)) / 2", ["a", "b"]),
        (".a and (.b or .c)", ["a", "b", "c"]),
        ("if .a then .b else .c end", ["a", "b", "c"]), (".a // .b", ["a", "b"]), ("-.a", ["a"]), (".[\"a\"].b", ["a"]),
        ("$env.A == .a", ["a"]),
        // What sees the same input, or a place in it that is known, counts.
        (".a | .b", ["a"]), (".a == (.b | .c) and .d", ["a", "b", "d"]), (". | .b", ["b"]),
        (".a as $x | .b", ["a", "b"]),
        ("try .a", ["a"]), ("try error(.a) catch .b", ["a"]), (".a[.b]", ["a", "b"]), ("def f: .a; f, .b", ["a", "b"]),
        ("select(.a) | .b", ["a", "b"]), ("first(.a; .b)", []), ("limit(.a; .b)", ["a", "b"]),
        ("{a, $b, \"c\"}", ["a", "c"]),
        (". as $r | $r.a", ["a"]), ("reduce .a[] as $x (.b; .c)", ["a", "b"]), ("any(.a[]; .b)", ["a"]),
        ("any(.a; [.b])", ["a"]), (".a |= .b", ["a"]), (".a = .b", ["b"]), (".a += .b", ["a", "b"]),
        (".a, .a", ["a", "a"]),
        ("label $l | .a, break $l", ["a"]), ("@json \"\\(.a)\"", ["a"]), (".a?//.b", ["a", "b"]), ("- .a", ["a"]),
        // What may see another input is left out.
        ("map(.a)", []), ("..", []), (".[]", []), (".", []), (".[] | .a", []), ("[.a] | .b", ["a"]),
        ("def f: .a; 1", []),
        ("with_entries(.a)", []), ("$x.a", []), (". as [$x] | $x.a", []), ("path(.a)", []), ("IN(.a; .b)", []),
        ("gsub(.a; .b)", ["a"]),
        ("if .a then . else .b end | .c", ["a", "b"]), ("if .a then . end | .b", ["a", "b"]),
        ("def map(f): f; map(.a)", ["a"]),
        ("def first(f): map(f); first(.a)", []), ("def f(g): .a | g; f(.b)", ["a"]),
        ("def f($g): .a | $g.c; f(.b)", ["a", "b"]),
        ("def f: f; f", []), ("def f(g): f(g); f(.a)", []), ("def f(g): def h: g; .a | h; f(.b)", ["a"]),
        ("{(.a): .b | .c, d: . as $x | $x.e}", ["a", "b", "e"]), ("foreach .a as [$x] (.b; .c; .d)", ["a", "b"]),
        // What is not understood is left alone.
        (".a .5", []), (".a then", []),
        ("[.a, .b]", ["a", "b"]), ("{a: .b, \"c\": [.d]}", ["b", "d"]), ("\"\\(.a)-\\(.b)\"", ["a", "b"]),
    ])
    func onlyWhatIsCertainlyReadFromTheInputCounts(source: String, names: [String]) throws {
        #expect(try Expression(source).inputMembers.map(\.name) == names)
    }

    @Test(arguments: [
        (".a.b.c", ["a@0", "b@2", "c@4"]),
        (".a[0].b", ["a@0"]), (".a[\"b\"].c?.d", ["a@0", "b@2", "c@7", "d@10"]),
        (".\"a\".b", ["a@0", "b@4"]), (".a[.b].c", ["a@0"]), (".a[].b", ["a@0"]),
        (".a | .b.c", ["a@0", "b@5", "c@7"]), ("(.a).b", ["a@1", "b@4"]), (".a as $x | $x | .b", ["a@0", "b@16"]),
        ("first(.a).b", ["a@6", "b@9"]), ("def f: .b; .a | f", ["a@11", "b@7"]), (".a |= .b", ["a@0", "b@6"]),
        (".a?.b", ["a@0", "b@3"]), ("any(.a; .b)", ["a@4", "b@8"]), ("(if .x then .a else .a end).b", ["x@4"]),
    ])
    func pathsGoAsFarAsTheirMembersAreNamed(source: String, path: [String]) throws {
        let found = try #require(try Expression(source).inputPaths.first)
        #expect(found.map { "\($0.name)@\($0.offset)" } == path)
    }

    @Test(arguments: [
        "." + String(repeating: "a.", count: 20_000) + "a", String(repeating: ".a | ", count: 20_000) + ".a",
        String(repeating: "try ", count: 20_000) + ".a", String(repeating: ".a as $x | ", count: 20_000) + ".a",
        String(repeating: "def f: .a; ", count: 20_000) + "f", String(repeating: ".a[0]", count: 20_000),
        String(repeating: "-", count: 20_000) + ".a", ".a" + String(repeating: " + .a", count: 20_000),
        (1...150).reduce("def f0: .a; ") { $0 + "def f\($1): f\($1 - 1), f\($1 - 1); " } + "f150",
    ])
    func hostileExpressionsComeToAnEnd(source: String) throws {
        #expect(try Expression(source).inputPaths.count <= 20_001)
    }
}
