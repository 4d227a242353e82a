/// Follows the input through a jq expression, as far as it is certain where it goes.
struct PathFinder {
    /// A way into the input; nil is a value of which that is not known.
    private typealias Place = [PathMember]?

    /// What names stand for, where an expression stands.
    private struct Scope {
        var variables: [String: Place] = [:]
        var functions: [String: Function] = [:]
    }

    private struct Function {
        let definition: JQSyntax.Function
        /// Where it was defined.
        let scope: Scope
        /// An argument sees what its caller sees, not itself.
        let isArgument: Bool
    }

    /// Functions can make much of little.
    private static let stepLimit = 100_000
    private static let depthLimit = 400
    private static let lengthLimit = 16

    private var paths: Set<[PathMember]> = []
    /// Those on which others go on.
    private var beginnings: Set<[PathMember]> = []
    private var steps = 0
    private var depth = 0

    private init() {}

    /// The ways into the input that an expression takes, each once, as far as it is followed, in the order in which they
    /// begin.
    static func paths(of syntax: JQSyntax) -> [[PathMember]] {
        var finder = PathFinder()
        _ = finder.follow(syntax, from: [], Scope())
        return finder.paths.subtracting(finder.beginnings).sorted {
            $0.lazy.map(\.offset).lexicographicallyPrecedes($1.lazy.map(\.offset))
        }
    }

    /// - Returns: where in the input that is which the expression gives.
    private mutating func follow(_ syntax: JQSyntax, from place: Place, _ scope: Scope) -> Place {
        steps += 1
        guard steps <= Self.stepLimit, depth < Self.depthLimit else { return nil }
        depth += 1
        defer { depth -= 1 }
        switch syntax {
        case .input: return place
        case .members(let base, let members):
            guard let begin = follow(base, from: place, scope) else { return nil }
            let path = begin + members
            note(path, from: begin.count)
            return path.count > Self.lengthLimit ? nil : path
        case .parts(let parts):
            for part in parts { _ = follow(part, from: place, scope) }
            return nil
        case .pipe(let stages):
            var place = place
            for stage in stages { place = follow(stage, from: place, scope) }
            return place
        case .choice(let conditions, let branches):
            for condition in conditions { _ = follow(condition, from: place, scope) }
            let places = branches.map { follow($0, from: place, scope) }
            return places.allSatisfy { $0 == places[0] } ? places[0] : nil
        case .binding(let source, let name, let others, let body):
            let value = follow(source, from: place, scope)
            var inner = scope
            if let name { inner.variables.updateValue(value, forKey: name) }
            for other in others { inner.variables.updateValue(nil, forKey: other) }
            return follow(body, from: place, inner)
        case .variable(let name): return scope.variables[name] ?? nil
        case .definition(let function, let rest):
            var inner = scope
            inner.functions[Self.key(function.name, function.parameters.count)] =
                Function(definition: function, scope: scope, isArgument: false)
            return follow(rest, from: place, inner)
        case .call(let name, let arguments):
            if let function = scope.functions[Self.key(name, arguments.count)] {
                return call(function, arguments, from: place, scope)
            }
            return callBuiltin(name, arguments, from: place, scope)
        }
    }

    private mutating func note(_ path: [PathMember], from begin: Int) {
        let path = path.prefix(Self.lengthLimit)
        for count in stride(from: 1, through: min(begin, path.count - 1), by: 1) {
            beginnings.insert(Array(path.prefix(count)))
        }
        paths.insert(Array(path))
    }

    // MARK: - Functions

    private static func key(_ name: String, _ count: Int) -> String { "\(name)/\(count)" }

    private mutating func call(
        _ function: Function, _ arguments: [JQSyntax], from place: Place, _ scope: Scope
    ) -> Place {
        let definition = function.definition
        var inner = function.scope
        if !function.isArgument {
            inner.functions[Self.key(definition.name, definition.parameters.count)] = function
        }
        for (parameter, argument) in zip(definition.parameters, arguments) {
            var name = parameter
            if parameter.hasPrefix("$") {
                name.removeFirst()
                inner.variables.updateValue(follow(argument, from: place, scope), forKey: name)
            }
            inner.functions[Self.key(name, 0)] = Function(
                definition: JQSyntax.Function(name: name, parameters: [], body: argument), scope: scope,
                isArgument: true)
        }
        return follow(definition.body, from: place, inner)
    }

    /// Of those that are not known here the arguments may see anything: of `map(.a)` the elements.
    private mutating func callBuiltin(
        _ name: String, _ arguments: [JQSyntax], from place: Place, _ scope: Scope
    ) -> Place {
        let key = Self.key(name, arguments.count)
        switch key {
        case "any/2", "all/2":
            let each = follow(arguments[0], from: place, scope)
            _ = follow(arguments[1], from: each, scope)
            return nil
        // The replacement sees what was captured.
        case "sub/2", "gsub/2", "sub/3", "gsub/3":
            _ = follow(arguments[0], from: place, scope)
            return nil
        case _ where Self.evaluating.contains(key): break
        default: return nil
        }
        let places = arguments.map { follow($0, from: place, scope) }
        return switch key {
        case "first/1", "last/1": places[0]
        case "limit/2", "nth/2": places[1]
        case "select/1": place
        default: nil
        }
    }

    /// The functions of jq whose arguments all see the function's own input.
    private static let evaluating: Set<String> = [
        "IN/1", "atan2/2", "capture/1", "capture/2", "combinations/1",
        "contains/1", "endswith/1", "error/1", "first/1", "flatten/1", "getpath/1", "has/1", "in/1",
        "index/1", "indices/1", "inside/1", "isempty/1", "join/1", "last/1", "ldexp/2", "limit/2", "ltrimstr/1",
        "match/1", "match/2", "nth/1", "nth/2", "pow/2", "range/1", "range/2", "range/3", "rindex/1", "rtrimstr/1",
        "scan/1", "select/1", "setpath/2", "split/1", "split/2", "splits/1", "splits/2", "startswith/1", "strftime/1",
        "strflocaltime/1", "strptime/1", "test/1", "test/2",
    ]
}
