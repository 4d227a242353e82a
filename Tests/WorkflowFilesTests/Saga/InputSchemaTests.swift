import Primitives
import Sagas
import Testing
import WorkflowFiles

/// The schema of a saga's input, in the workflow file and beside it. It is named in line 4.
struct InputSchemaTests {
    @Test(arguments: [
        ("{}", "4:8: error: input without 'schema'; expected schema: schemas/order.json"),
        (
            "{ schema: }",
            "4:18: error: nothing stands for schema; expected the path of a JSON file, or a JSON Schema itself"
        ),
        (
            "{ schema: 5 }",
            "4:18: error: the number 5 stands for schema; expected the path of a JSON file, or a JSON Schema itself"
        ),
        (
            "{ schema: [ a ] }",
            "4:18: error: a list stands for schema; expected the path of a JSON file, or a JSON Schema itself"
        ),
        ("{ shema: {} }", "4:10: error: unknown key 'shema' of input; did you mean 'schema'?"),
        ("a", "4:8: error: 'a' stands for input; expected a mapping with schema"),
        ("{ schema: {} }", ""),
    ])
    func inputHasASchema(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith("input: " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "{ schema: { type: objct } }",
            "4:26: error: 'objct' stands for type; expected null, boolean, object, array, number, integer or string; did you mean 'object'?"
        ),
        (
            "{ schema: { type: [ object, 5 ] } }",
            "4:36: error: the number 5 stands for type; expected null, boolean, object, array, number, integer or string"
        ),
        (
            "{ schema: { propertys: {} } }",
            "4:20: error: unknown key 'propertys' of the schema; did you mean 'properties'?"
        ),
        (
            "{ schema: { properties: [ a ] } }",
            "4:32: error: a list stands for properties; expected a mapping of names to schemas"
        ),
        ("{ schema: { required: a } }", "4:30: error: 'a' stands for required; expected a list; write [ a ]"),
        (
            "{ schema: { required: [ 5 ] } }",
            #"4:32: error: the number 5 stands for a name in required; expected a text; quote it: "5""#
        ),
        (
            "{ schema: { enum: a, additionalProperties: 5 } }",
            """
            4:26: error: 'a' stands for enum; expected a list; write [ a ]
            4:51: error: the number 5 stands for the schema at /additionalProperties; expected a mapping with type, enum, const, …
            """
        ),
        (
            "{ schema: { minItems: -1, maxLength: x, minimum: '5' } }",
            """
            4:30: error: the number -1 stands for minItems; expected a whole number from 0 to 2147483647
            4:45: error: 'x' stands for maxLength; expected a whole number from 0 to 2147483647
            4:57: error: '5' stands for minimum; expected a number
            """
        ),
    ])
    func keywordsAreChecked(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith("input: " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "{ schema: { pattern: x } }",
            "4:20: error: 'pattern' of the schema is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "{ schema: { properties: { a/b: { anyOf: [] }, c: { items: { $ref: '#' } } } } }",
            """
            4:41: error: 'anyOf' of the schema at /properties/a~1b is not supported yet; leave it out for this version of Outrider
            4:68: error: '$ref' of the schema at /properties/c/items is not supported yet; leave it out for this version of Outrider
            """
        ),
    ])
    func unsupportedKeywordsAreNamedWithTheirPlace(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith("input: " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        (
            "{ schema: nowhere.json }",
            "4:18: error: the schema file 'nowhere.json' cannot be read: No such file or directory; expected a JSON file, its path from the folder of the workflow file"
        ),
        (
            "{ schema: /etc/passwd }",
            "4:18: error: '/etc/passwd' stands for the path of a schema; expected a path from the folder of the workflow file"
        ),
        (
            #"{ schema: "" }"#,
            "4:18: error: '' stands for the path of a schema; expected a path from the folder of the workflow file"
        ),
        (
            "{ schema: a.yaml }",
            "4:18: error: the schema file 'a.yaml' is not JSON: a value was expected at line 1, column 1"
        ),
        (
            "{ schema: . }",
            "4:18: error: the schema file '.' is not a regular file; expected a JSON file, its path from the folder of the workflow file"
        ),
    ])
    func fileIsReadFromTheFolderOfTheWorkflowFile(yaml: String, messages: String) async {
        #expect(await Workflows(Workflows.sagaWith("input: " + yaml)).check().text == messages)
    }

    @Test(arguments: [
        (#"{"type": "object"}"#, ""),
        ("true", ""),
        (
            #"{"type": "objct"}"#,
            "4:18: error: 'objct' stands for type of 'schemas/o.json'; expected null, boolean, object, array, number, integer or string; did you mean 'object'?"
        ),
        (
            "{\"properties\": {\"a\": {\"pattern\": \"x\", \"$ref\": \"#\"}}}",
            """
            4:18: error: '$ref' of the schema at /properties/a of 'schemas/o.json' is not supported yet; leave it out for this version of Outrider
            4:18: error: 'pattern' of the schema at /properties/a of 'schemas/o.json' is not supported yet; leave it out for this version of Outrider
            """
        ),
        (
            #"{"type": "#,
            "4:18: error: the schema file 'schemas/o.json' is not JSON: the text ends where a value was expected at line 1, column 10"
        ),
        (
            "[1]",
            "4:18: error: a list stands for the schema of 'schemas/o.json'; expected a mapping with type, enum, const, …"
        ),
        (
            #"{"type":"object","type":"array"}"#,
            "4:18: error: the key 'type' stands twice in the schema of 'schemas/o.json'; expected each key once"
        ),
        (
            #"{"properties":{"a":{},"a":{}}}"#,
            "4:18: error: the key 'a' stands twice in the schema at /properties of 'schemas/o.json'; expected each key once"
        ),
        (
            "{\"const\":\"a\\u0000\"}",
            "4:18: error: a text with the character U+0000; expected one that jsonb can hold"
        ),
        (
            #"{"minimum":1e9999}"#,
            "4:18: error: the number 1e9999 has an exponent beyond 1000; expected a number that jsonb can hold"
        ),
    ])
    func whatIsWrongInTheFileIsToldWhereItIsNamed(yaml: String, messages: String) async {
        #expect(
            await Workflows(["a.yaml": Workflows.sagaWith("input: { schema: schemas/o.json }"), "schemas/o.json": yaml])
                .check().text == messages)
    }

    @Test func aWorkflowFileIsReadAsOneThoughItIsNamedAsASchema() async {
        let outcome = await Workflows([
            "a.yaml": Workflows.sagaWith("input: { schema: b.json }"), "b.json": #"{"topic": "T"}"#,
        ])
        .check()
        #expect(outcome.messages.last?.hasPrefix("b.json:1:11: error: 'T' stands for the name of a topic") == true)
    }

    @Test func aFileThatNamesItselfIsStillRead() async {
        // A byte order mark is taken off a workflow file; a schema must be JSON as it is.
        let saga = "\u{FEFF}" + #"{"saga": "s", "version": 1, "steps": [], "input": {"schema": "a.json"} }"#
        let outcome = await Workflows(saga, file: "a.json").check()
        #expect(outcome.messages.contains { $0.hasPrefix("a.json:1:38: error: steps is empty") })
    }

    @Test func contentHoldsTheSchemaItself() async throws {
        let files = [
            "x/a.yaml": Workflows.sagaWith("input: { schema: ../schemas/o.json }"),
            "schemas/o.json":
                #"{"type": "object", "properties": {"b": {"minimum": 0.50}, "a": {"type": ["string", "null"]}}}"#,
        ]
        let outcome = await Workflows(files).check()
        #expect(outcome.messages == [])
        let saga = try #require(outcome.sagas.first)
        #expect(
            saga.content["input"]?.text
                == #"{"schema":{"properties":{"a":{"type":["string","null"]},"b":{"minimum":0.50}},"type":"object"}}"#)
        #expect(saga.inputSchema?.mismatch(["b": 0]) == ".b is 0; expected at least 0.50")
        #expect(saga.inputSchema?.mismatch(["a": 5]) == ".a is 5; expected string or null")
    }
}
