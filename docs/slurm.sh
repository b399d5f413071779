#!/bin/bash
# A campaign on several nodes of a Slurm cluster. The arguments are those of main.py:
#
#     sbatch --nodes=4 docs/slurm.sh --config=campaign.yml
#
# Ray runs on the nodes of the job; the first node writes the results. When time is up, submit the same job again.
#SBATCH --job-name=campaign
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Five minutes before the end, as Ctrl-C does: running networks are finished, none is started.
#SBATCH --signal=B:INT@300
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
each=(--num-cpus="$SLURM_CPUS_PER_TASK" --block)
[ -z "${SLURM_GPUS_ON_NODE:-}" ] || each+=(--num-gpus="$SLURM_GPUS_ON_NODE")

srun --nodes=1 --ntasks=1 --nodelist="$first" \
    ray start --head --node-ip-address="$address" --port="$port" --include-dashboard=false "${each[@]}" &
head=$!
until ray status --address="$address:$port" > /dev/null 2>&1; do
    kill -0 "$head" || { echo "Ray did not start on $first" >&2; exit 1; }
    sleep 1
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    others=$((SLURM_JOB_NUM_NODES - 1))
    srun --nodes="$others" --ntasks="$others" --exclude="$first" ray start --address="$address:$port" "${each[@]}" &
fi

# exec, so that the signal of Slurm reaches the program.
exec python main.py --launcher=ray --ray_address="$address:$port" "$@"
