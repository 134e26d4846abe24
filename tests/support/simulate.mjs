// Answers requests with IAM's evaluation logic: a JSON list of simulations on stdin, a list of results on stdout.
import { runSimulation } from '@cloud-copilot/iam-simulate'
import { text } from 'node:stream/consumers'

const results = []
for (const simulation of JSON.parse(await text(process.stdin))) {
  const outcome = await runSimulation(simulation, {})
  results.push(outcome.resultType === 'error' ? `error: ${JSON.stringify(outcome.errors)}` : outcome.overallResult)
}
console.log(JSON.stringify(results))
