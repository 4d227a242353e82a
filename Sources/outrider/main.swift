internal import Expressions

// The program started again by itself, to run expressions apart from everything else.
if CommandLine.arguments.dropFirst().first == "--expression-worker" { ExpressionWorker.serve() }
