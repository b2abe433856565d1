"""GRPO training. The loop sees types and Protocols; launch assembles its parts on Ray.

    grpo_stage           the command `rlvr grpo`
      grpo_config          its recipe
      checks               self-checks before and during a run
    launch               assemble a run
      generation_session   start and stop the actors; also for stages without a learner
      actor_group          the actors and their resources
      loop                 the training loop
        rollout_buffer       groups under way, complete groups, batches
          task_dealer        which task comes next
          open_batch         the batch being trained and its mini-batches
        rollouts             generate and grade
        graders              the reward actors
        advantages           advantages within groups
        batching             micro-batches for the learner ranks
        held_out_eval        evaluation on held-out tasks
    metrics              metrics of each step
    run_logger           metrics, rollouts, console and trackers
    run_summary          the table at the end

The engines are in rlvr.rollout, the learner in rlvr.learner.
"""
