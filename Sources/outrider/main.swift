internal import CommandLineTool
internal import EmbeddedPostgres
internal import Expressions
internal import Glibc

// The program started again by itself, to run expressions apart from everything else.
if CommandLine.arguments.dropFirst().first == "--expression-worker" { ExpressionWorker.serve() }

exit(await CommandLineTool.main(Array(CommandLine.arguments.dropFirst()), environment: currentEnvironment()))
